"""All streams of candles: looked at together, at most so often, and sent where they changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from k2_api.live.candle_rows import CandleRow, CandleRows
from k2_api.live.candle_stream import CandleStream
from k2_api.live.history import LATER, History, Wanted
from k2_api.live.messages import ROWS_IN_MESSAGE, Message
from k2_api.live.places import Position
from k2_api.live.settings import LiveSettings
from k2_api.questions.parameters import MAX_LIMIT
from k2_market.kinds import Kind

_log = logging.getLogger(__name__)
Read = Callable[..., Awaitable[Any]]

# So many of a stream's windows are looked at together, the newest first.
_WINDOWS = 16
# Symbols of one question: as many as a request may name.
_SYMBOLS = 50
# Windows become final by a commit of the tables, which no trade announces.
_OPEN_EVERY_S = 1.0
_AGAIN_AFTER_S = 0.5


class Candles:
    """It belongs to the event loop; ``read`` runs what blocks in a thread."""

    def __init__(
        self, rows: CandleRows, history: History, read: Read, settings: LiveSettings
    ) -> None:
        self._rows, self._history, self._read = rows, history, read
        self._every_s = settings.candles_every_s
        self._streams: dict[CandleStream, None] = {}

    def add(self, stream: CandleStream) -> None:
        """Look at it from now on."""
        self._streams[stream] = None

    def remove(self, stream: CandleStream) -> None:
        """Look at it no more."""
        self._streams.pop(stream, None)

    async def run(self) -> None:
        """Look at what is due, until cancelled."""
        opened_at = time.monotonic()
        while True:
            await asyncio.sleep(self._every_s)
            if time.monotonic() - opened_at >= _OPEN_EVERY_S:
                opened_at = time.monotonic()
                for stream in self._streams:
                    stream.dirty.update(stream.open)
            for group in self._due():
                try:
                    await self._look(group)
                except LATER:
                    continue
                except Exception:  # noqa: BLE001
                    # The outermost loop of all streams of candles: those of others go on.
                    _log.exception("candles could not be looked at")

    async def catch_up(self, stream: CandleStream) -> None:
        """Send what changed behind the stream's position, and let it go on from there."""
        first = stream.since
        while True:
            before = stream.topic.position
            touched = await self._touched(stream)
            if touched is not None and await self._send_from(stream, first, before):
                break
            await asyncio.sleep(_AGAIN_AFTER_S)
        if stream.end is None:
            stream.resumed(w for w in touched if w < first)
            stream.dirty.update(stream.open)
        else:
            stream.sink.ended(stream)

    def _due(self) -> list[list[CandleStream]]:
        """Streams with windows to look at, those that can be asked about together."""
        groups: dict[tuple[str, str, int], list[CandleStream]] = defaultdict(list)
        for stream in self._streams:
            if stream.is_live and stream.dirty:
                newest = max(stream.dirty)
                groups[stream.channel, stream.topic.exchange, newest].append(stream)
        return list(groups.values())

    async def _look(self, streams: Sequence[CandleStream]) -> None:
        one = streams[0]
        end = one.grain.after(max(one.dirty))
        start = end
        for _ in range(_WINDOWS):
            start = one.grain.before(start)
        before = one.topic.position
        looked = {s: {w for w in s.dirty if start <= w < end} for s in streams}
        for stream, windows in looked.items():
            stream.dirty -= windows
        try:
            by_symbol = await self._by_symbol(streams, start, end)
        except Exception:
            for stream, windows in looked.items():
                stream.dirty |= windows
            raise
        self._offer(looked, by_symbol, before)

    async def _by_symbol(
        self, streams: Sequence[CandleStream], start: int, end: int
    ) -> dict[str, list[CandleRow]]:
        one, symbols = streams[0], sorted({s.symbol for s in streams})
        found: dict[str, list[CandleRow]] = defaultdict(list)
        for first in range(0, len(symbols), _SYMBOLS):
            asked = (one.grain.name, one.topic.exchange, symbols[first : first + _SYMBOLS])
            for row in await self._read(self._rows.of, *asked, start, end):
                found[row.symbol].append(row)
        return found

    def _offer(
        self,
        looked: dict[CandleStream, set[int]],
        by_symbol: dict[str, list[CandleRow]],
        before: Position,
    ) -> None:
        # Readers of the same windows mostly need the same message: it is made once.
        made: dict[object, Message] = {}
        now = _now()
        for stream, windows in looked.items():
            if not stream.is_live or stream not in self._streams:
                continue
            rows = stream.changed(by_symbol.get(stream.symbol, ()), windows, now)
            if rows:
                message = stream.message(rows, before)
                known = (message.symbol, message.since, tuple(rows))
                stream.sink.offer(made.setdefault(known, message))

    async def _touched(self, stream: CandleStream) -> set[int] | None:
        """The windows of trades behind the position; None while that cannot be told."""
        wanted = Wanted(Kind.TRADES, stream.topic.exchange, stream.symbols)
        try:
            found = await self._read(self._history.minutes, wanted, stream.position)
        except LATER:
            return None
        since, through = stream.topic.based_at, found.freshness.through
        if through is None or (since is not None and through < since):
            return None
        return {stream.grain.floor(us) for us in found.minutes}

    async def _send_from(self, stream: CandleStream, start: int, before: Position) -> bool:
        """Send all candles from that window on; False where that could not be done."""
        asked = (stream.grain.name, stream.topic.exchange, [stream.symbol])
        while True:
            try:
                rows = await self._read(self._rows.of, *asked, start, stream.end)
            except LATER:
                return False
            texts = stream.changed(rows, [row.window for row in rows], _now())
            for part in _parts(texts):
                await stream.sink.put(stream.message(part, before))
            if len(rows) < MAX_LIMIT:
                return True
            start = stream.grain.after(rows[-1].window)


def _parts(texts: Sequence[str]) -> Iterable[Sequence[str]]:
    return (texts[n : n + ROWS_IN_MESSAGE] for n in range(0, len(texts), ROWS_IN_MESSAGE))


def _now() -> int:
    return time.time_ns() // 1_000
