"""Which frames go into Kafka, and under which key: the same for live sessions and replays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from k2_feeds.adapter import Adapter, Channel, Route
from k2_feeds.kafka.frame import Frame, Origin
from k2_feeds.kafka.producer import FrameProducer
from k2_market.kinds import Kind


class FrameRouter:
    """Sends an exchange's frames of one kind on, and counts all by channel."""

    def __init__(self, adapter: Adapter, kind: Kind, producer: FrameProducer) -> None:
        self.adapter, self.kind, self.producer = adapter, kind, producer
        # Control frames are the proof of a quiet connection, unknown ones may be new data.
        self._kept = frozenset({Channel(kind), Channel.CONTROL, Channel.UNKNOWN})
        self.counts: Counter[Channel] = Counter()

    def route(self, payload: bytes) -> Route | None:
        """The route of a frame that is kept, None of one that is only counted."""
        route = self.adapter.classify(payload)
        self.counts[route.channel] += 1
        return route if route.channel in self._kept else None

    def send_many(self, frames: Iterable[Frame], origin: Origin = Origin.REPLAY) -> int:
        """Send those frames that are kept, waiting while there is no room; their number."""
        return self.producer.send_many(self._keyed(frames), origin)

    def _keyed(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, str | None]]:
        for frame in frames:
            route = self.route(frame.payload)
            if route is not None:
                yield frame, route.exchange_symbol
