"""Which frames go into Kafka, and under which key: the same for live sessions and replays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from k2_feeds.adapter import Adapter, Channel, Route
from k2_feeds.frame import Frame, Origin
from k2_feeds.producer import FrameProducer

# Control frames are the proof of a quiet connection, unknown ones may be trades in a new shape.
KEPT = frozenset({Channel.TRADES, Channel.CONTROL, Channel.UNKNOWN})


class FrameRouter:
    """Sends an exchange's frames on and counts them by channel."""

    def __init__(self, adapter: Adapter, producer: FrameProducer) -> None:
        self.adapter, self.producer = adapter, producer
        self.counts: Counter[Channel] = Counter()

    def route(self, payload: bytes) -> Route | None:
        """The route of a frame that is kept, None of one that is only counted."""
        route = self.adapter.classify(payload)
        self.counts[route.channel] += 1
        return route if route.channel in KEPT else None

    def send_many(self, frames: Iterable[Frame], origin: Origin = Origin.REPLAY) -> int:
        """Send those frames that are kept, waiting while there is no room; their number."""
        return self.producer.send_many(self._keyed(frames), origin)

    def _keyed(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, str | None]]:
        for frame in frames:
            route = self.route(frame.payload)
            if route is not None:
                yield frame, route.exchange_symbol
