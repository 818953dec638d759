"""How much of the server live streams may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiveSettings:
    """Bounds of connections and queues; times are in seconds.

    A queue holds messages that are shared by all who wait for them: its bytes are what a reader may
    be behind, not what it costs.
    """

    connections: int = 1_000
    connections_of_key: int = 250
    subscriptions: int = 100
    queue_messages: int = 2_000
    queue_bytes: int = 8_000_000
    message_bytes: int = 16_384
    heartbeat_s: float = 15.0
    close_within_s: float = 3.0
    candles_every_s: float = 0.25
