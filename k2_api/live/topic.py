"""A raw topic as the hub knows it: how far it is, and who wants which of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from k2_api.live.candle_stream import CandleStream
from k2_api.live.messages import ROWS_IN_MESSAGE, Message, Row, messages_of
from k2_api.live.places import Position
from k2_api.live.stream import Stream
from k2_market.kinds import Kind

AnyStream = Stream | CandleStream


@dataclass(frozen=True)
class Batch:
    """Rows that came, in order, and the position of the topic before and after them."""

    channel: str
    exchange: str
    rows: Sequence[Row]
    before: Position
    after: Position

    @cached_property
    def messages(self) -> list[Message]:
        """Those rows that the topic had not passed, as all streams that are in step get them."""
        new = [row for row in self.rows if not self.before.passed(row.place)]
        return messages_of(self.channel, self.exchange, new, self.after)


@dataclass(frozen=True)
class Arrived:
    """What came at once, ready to be sent.

    ``rows`` are those of the symbols that were wanted when they were made; ``after`` is the place
    behind all rows, wanted or not.
    """

    rows: Sequence[Row]
    wanted: frozenset[str]
    after: Position


class Topic:
    """It belongs to the event loop.

    ``based_at``: since when the position has been known without a hole. Whoever has read all that
    came up to a later instant is in step with it. ``tail`` is what was last told of its freshness.
    """

    def __init__(self, kind: Kind, exchange: str) -> None:
        self.kind, self.exchange = kind, exchange
        self.position = Position()
        self.based_at: datetime | None = None
        self.tail: str | None = None
        self._streams: dict[str, dict[AnyStream, None]] = {}

    @property
    def channel(self) -> str:
        """What its rows are called."""
        return str(self.kind)

    @property
    def wanted(self) -> frozenset[str]:
        """The symbols that somebody wants."""
        return frozenset(self._streams)

    @property
    def streams(self) -> list[AnyStream]:
        """All that read it."""
        return list({s: None for streams in self._streams.values() for s in streams})

    def base(self, position: Position) -> None:
        """Begin: what came before this position is not waited for."""
        self.position = self.position.joined(position)
        self.based_at = datetime.now(UTC)

    def add(self, stream: AnyStream) -> None:
        """Send the stream what comes."""
        for symbol in stream.symbols:
            self._streams.setdefault(symbol, {})[stream] = None

    def remove(self, stream: AnyStream) -> None:
        """Send it nothing more."""
        for symbol in stream.symbols:
            others = self._streams.get(symbol, {})
            others.pop(stream, None)
            if not others:
                self._streams.pop(symbol, None)

    def interrupted(self) -> None:
        """There may be a hole behind the position: all have to catch up from it."""
        self.based_at = datetime.now(UTC)
        for stream in self.streams:
            self._behind(stream)

    def take(self, arrived: Arrived) -> None:
        """Send rows to whoever wants them."""
        for symbol in self.wanted - arrived.wanted:
            for stream in self._streams[symbol]:
                self._behind(stream)
        rows = arrived.rows
        for first in range(0, len(rows), ROWS_IN_MESSAGE):
            part = rows[first : first + ROWS_IN_MESSAGE]
            self._send(part, self.position.moved(*(row.place for row in part)))
        self.position = self.position.joined(arrived.after)

    def _send(self, rows: Sequence[Row], after: Position) -> None:
        batch = Batch(self.channel, self.exchange, rows, self.position, after)
        self.position = after
        concerned = {s: None for row in rows for s in self._streams.get(row.symbol, ())}
        for stream in concerned:
            stream.take(batch)

    def _behind(self, stream: AnyStream) -> None:
        if stream.is_live:
            stream.hold()
            stream.sink.catch_up(stream)
