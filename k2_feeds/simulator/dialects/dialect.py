"""The contract of an exchange's server, as the simulator needs it, and how its frames are written.

A dialect is the server's side of an adapter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from k2_feeds.simulator.synthetic import Fill, Quote
from k2_market.kinds import Kind


@dataclass
class Client:
    """What a connection asked for: its path with query, and canonical symbols by kind.

    ``since`` is the loop's time of its beginning.
    """

    path: str
    symbols: dict[Kind, set[str]] = field(default_factory=lambda: {kind: set() for kind in Kind})
    since: float = 0.0


class Dialect(Protocol):
    """One exchange's server. ``now`` is an aware instant; texts are whole frames."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths it serves."""

    def greet(self, client: Client, now: datetime) -> list[str]:
        """What it sends to a new connection."""

    def answer(self, client: Client, message: str, now: datetime) -> list[str]:
        """What it sends back, ``client.symbols`` changed accordingly."""

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:
        """The frames of these orders on connections of this path."""

    def quotes(self, path: str, symbol: str, quotes: list[Quote]) -> list[str]:
        """The frames of these quotes on connections of this path."""

    def heartbeat(self, client: Client, now: datetime) -> list[str]:
        """What it sends to a client every second."""


def request(message: str) -> dict[str, Any]:
    """The JSON object that a client sent, empty if it is none."""
    try:
        found = json.loads(message)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def dump(message: Mapping[str, Any]) -> str:
    """A frame."""
    return json.dumps(message, separators=(",", ":"))


def iso(instant: datetime) -> str:
    """``2026-03-01T12:00:00.000000Z``."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def iso_us(micros: int) -> str:
    """The same of microseconds since 1970 UTC."""
    seconds, rest = divmod(micros, 1_000_000)
    return iso(datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest))
