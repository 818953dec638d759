"""A stream of candles of one instrument: a message whenever a window has changed.

Trades only tell which windows to look at; what is sent is what the history answers then. So a
candle may have changed several times between two messages, and its last state is always sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from k2_api.live.candle_rows import CandleRow
from k2_api.live.cursor import State
from k2_api.live.messages import Message
from k2_api.live.places import Position, to_micros
from k2_api.live.stream import Begin, Sink
from k2_api.questions.timeframes import Grain

if TYPE_CHECKING:
    from k2_api.live.topic import Batch, Topic

# A window whose trades count in no candle is not looked at for ever.
_GIVEN_UP_AFTER_US = 600_000_000


class CandleStream:
    """It belongs to the event loop.

    ``topic`` is that of the trades that make the candles. ``open`` are the windows that were not
    final when they were looked at, with what was sent of them; ``dirty`` those to be looked at.
    """

    def __init__(
        self, topic: Topic, symbol: str, grain: Grain, sink: Sink, begin: Begin, now: int
    ) -> None:
        self.topic, self.symbol, self.grain, self.sink = topic, symbol, grain, sink
        self.symbols = frozenset([symbol])
        self.end = None if begin.end is None else to_micros(begin.end)
        self.since = grain.floor(now if begin.start is None else to_micros(begin.start))
        self.open: dict[int, str] = {}
        self.dirty: set[int] = set()
        self._missing_since: dict[int, int] = {}
        self._frozen: Position | None = begin.behind
        self.is_live = begin.behind is None and begin.start is None
        if self.is_live:
            self.open[self.since] = ""

    @property
    def channel(self) -> str:
        """What its messages are called."""
        return f"ohlcv.{self.grain.name}"

    @property
    def position(self) -> Position:
        """Trades up to there are in what was sent, or in windows still to be looked at."""
        return self.topic.position if self._frozen is None else self._frozen

    @property
    def state(self) -> State:
        """The same for a cursor: windows from ``since`` on are looked at again."""
        return State(self.position.reached, since=self._first_unsettled())

    def hold(self) -> None:
        """Look at nothing until it is known which trades were missed."""
        self._frozen = self.position
        self.is_live = False

    def take(self, batch: Batch) -> None:
        """Trades came."""
        for row in batch.rows:
            if row.symbol == self.symbol:
                self.dirty.add(self.grain.floor(row.at))

    def resumed(self, touched: Iterable[int]) -> None:
        """Become live: windows that were touched meanwhile are looked at."""
        self.dirty.update(touched)
        self._frozen = None
        self.is_live = True

    def changed(self, rows: Sequence[CandleRow], looked: Iterable[int], now: int) -> list[str]:
        """The rows that differ from what was sent, of the windows looked at."""
        changed = []
        by_window = {row.window: row for row in rows}
        for window in sorted(looked):
            row = by_window.get(window)
            if row is None:
                self._missing(window, now)
            elif self.open.get(window) != row.text:
                changed.append(row.text)
            if row is not None:
                self._sent(row)
        return changed

    def message(self, rows: Sequence[str], after: Position) -> Message:
        """A message with these rows, read when trades up to ``after`` had come."""
        since = self._first_unsettled()
        return Message(self.channel, self.topic.exchange, self.symbol, rows, after, since)

    def _sent(self, row: CandleRow) -> None:
        self.since = max(self.since, row.window)
        self._missing_since.pop(row.window, None)
        if row.is_final:
            self.open.pop(row.window, None)
        else:
            self.open[row.window] = row.text

    def _missing(self, window: int, now: int) -> None:
        if now - self._missing_since.setdefault(window, now) < _GIVEN_UP_AFTER_US:
            self.open.setdefault(window, "")
        else:
            self.open.pop(window, None)
            del self._missing_since[window]

    def _first_unsettled(self) -> int:
        return min((*self.open, *self.dirty, self.since))
