"""Days of stored candles kept in memory as the JSON of their rows, for pages of one instrument.

A day is known by its files, and files never change: after a commit only the days whose files it
replaced are read again. A page is two searches and one joining of texts, where a query would take
milliseconds. The rows are the same bytes that the query gives.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import cast

from k2_api.reading.asked import Asked
from k2_api.reading.candle_files import CandleFiles, Held
from k2_api.reading.candle_set import CANDLE_ROW, CandleSet, day_of, micros
from k2_api.reading.current import Replacement
from k2_api.reading.final import final_starts
from k2_api.reading.reader import LakeReader, Row
from k2_api.reading.statements import row_json

MOST_BYTES = 128 * 1024 * 1024
# So many rows are read for one page at most, where it is not in memory; else it is asked for.
MOST_LOADED = 20_000
# What a text takes in memory beside its characters, and a start.
_OVERHEAD = 60
_COLUMNS = tuple(CANDLE_ROW.columns)
_DAY_US = 86_400_000_000
_EARLIEST, _LATEST = (
    micros(datetime(1, 1, 2, tzinfo=UTC)),
    micros(datetime(9999, 12, 31, tzinfo=UTC)),
)
_FINAL, _NOT_FINAL = '"final":true}', '"final":false}'

_ROWS = (
    f"select window_date, unix_micros(window_start), {row_json(CANDLE_ROW, _COLUMNS)} from "
    "(select *, true as final from {rows} where exchange = $exchange and symbol = $symbol "
    "and window_date in (select unnest($days::date[]))) order by window_start"
)

DayKey = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Day:
    """The candles of a day: the starts of their windows in microseconds, and their rows."""

    starts: Sequence[int]
    rows: list[str]

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return sum(map(len, self.rows)) + _OVERHEAD * (len(self.rows) + 1)


@dataclass(frozen=True)
class Found:
    """The rows of a page with the starts of their windows; one more than asked for, if any."""

    starts: Sequence[int]
    rows: list[str]


class HotDays:
    """Keeps the days that were asked for last; safe to use from several threads."""

    def __init__(self, reader: LakeReader, held: CandleFiles, most_bytes: int = MOST_BYTES) -> None:
        self._reader, self._held, self._most = reader, held, most_bytes
        self._lock = threading.Lock()
        self._days: OrderedDict[DayKey, Day] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """About how much memory the days take."""
        return self._bytes

    def rows(self, asked: Asked, limit: int, *, load: bool) -> Found | None:
        """At most ``limit`` rows of the question; None where it has to be asked of the table.

        Without ``load`` nothing is read, and None means as well that something is not in memory.
        """
        held = self._held.of(asked.dataset.table, asked.table, asked.at)
        newer = asked.newer.texts.get((asked.exchanges[0], asked.symbols[0])) or Replacement()
        # Of the stored rows so many more as may have to give way.
        found = self._stored(asked, held, limit + len(newer.starts), load=load)
        if found is None:
            return None
        stored = zip(found.starts, _told(found, held, asked), strict=True)
        rows = {start: row for start, row in stored if start not in newer.starts}
        low, high = _range(asked)
        rows |= {start: row for start, row in newer.rows.items() if low <= start < high}
        starts = sorted(rows, reverse=asked.descending)[:limit] if newer.starts else list(rows)
        return Found(starts, [rows[start] for start in starts])

    def _stored(self, asked: Asked, held: Held, limit: int, *, load: bool) -> Found | None:
        if asked.exchanges[0] not in held.exchanges:
            return Found([], [])
        page = _Page(asked, held, limit)
        budget = MOST_LOADED if load else 0
        for n in page.order:
            day = self._known(page, n)
            if day is None:
                if budget <= 0:
                    return None
                budget -= self._load(page, n)
                day = self._known(page, n) or Day([], [])
            if page.take(day):
                break
        return Found(page.starts, page.rows)

    def _known(self, page: _Page, n: int) -> Day | None:
        key = page.key(n)
        with self._lock:
            found = self._days.get(key)
            if found is not None:
                self._days.move_to_end(key)
            return found

    def _load(self, page: _Page, n: int) -> int:
        """Read that day and those behind it that are missing for the page; how many rows."""
        missing = [m for m in page.ahead(n) if self._known(page, m) is None]
        by_day = page.read(self._reader, missing)
        with self._lock:
            for m in missing:
                day = by_day.get(page.of.days[m], Day([], []))
                known = self._days.pop(page.key(m), None)
                self._days[page.key(m)] = day
                self._bytes += day.size - (0 if known is None else known.size)
            while self._bytes > self._most:
                self._bytes -= self._days.popitem(last=False)[1].size
        return 1 + sum(len(day.rows) for day in by_day.values())


class _Page:
    """The rows of a page as they are gathered, day by day."""

    def __init__(self, asked: Asked, held: Held, limit: int) -> None:
        self.asked, self.limit = asked, limit
        self.of, self._files = held.exchanges[asked.exchanges[0]], held.files
        self.length = cast("CandleSet", asked.dataset).source.micros
        self.low, self.high = _range(asked)
        self.starts: list[int] = []
        self.rows: list[str] = []

    @property
    def order(self) -> range:
        """The numbers of the days that may have rows, in the order of the page."""
        first = bisect_left(self.of.days, day_of(self.low))
        last = bisect_right(self.of.days, day_of(self.high - 1))
        return range(last - 1, first - 1, -1) if self.asked.descending else range(first, last)

    def key(self, n: int) -> DayKey:
        """What the rows of that day are kept under."""
        return self.asked.symbols[0], tuple(f.file_path for f in self.of.files[n])

    def take(self, day: Day) -> bool:
        """Take what the page needs of the day; whether it is full."""
        first, last = bisect_left(day.starts, self.low), bisect_left(day.starts, self.high)
        missing = self.limit - len(self.rows)
        if self.asked.descending:
            chosen = slice(max(first, last - missing), last)
            self.starts += reversed(day.starts[chosen])
            self.rows += reversed(day.rows[chosen])
        else:
            chosen = slice(first, min(last, first + missing))
            self.starts += day.starts[chosen]
            self.rows += day.rows[chosen]
        return len(self.rows) >= self.limit

    def ahead(self, n: int) -> range:
        """That day and so many behind it as the rest of the page may need."""
        a_day = max(1, _DAY_US // self.length)
        missing = self.limit - len(self.rows)
        count = min(missing // a_day + 2, max(1, MOST_LOADED // a_day))
        order = self.order
        first = order.index(n)
        return order[first : first + count]

    def read(self, reader: LakeReader, numbers: Sequence[int]) -> dict[date, Day]:
        """The rows of those days."""
        files = tuple(f for n in numbers for f in self.of.files[n])
        values = {
            "exchange": self.asked.exchanges[0],
            "symbol": self.asked.symbols[0],
            "days": [self.of.days[n] for n in numbers],
        }
        table = self.asked.table
        chosen = self._files.only(files)
        found = reader.run(_ROWS, chosen, values, table)
        return {
            day: Day(array("q", [cast("int", r[1]) for r in rows]), [str(r[2]) for r in rows])
            for day, rows in _by_day(found).items()
        }


def _told(found: Found, held: Held, asked: Asked) -> list[str]:
    """The rows with what is final; they are kept as if all windows were."""
    return [
        row if final else row.removesuffix(_FINAL) + _NOT_FINAL
        for row, final in zip(found.rows, final_starts(found.starts, held, asked), strict=True)
    ]


def _by_day(found: Sequence[Row]) -> dict[date, list[Row]]:
    by_day: dict[date, list[Row]] = {}
    for row in found:
        by_day.setdefault(cast("date", row[0]), []).append(row)
    return by_day


def _range(asked: Asked) -> tuple[int, int]:
    """From which start of a window on, and before which, rows of the page may be."""
    low = _EARLIEST if asked.start is None else micros(asked.start)
    high = _LATEST if asked.end is None else micros(asked.end)
    if asked.after is None:
        return low, high
    at = micros(cast("datetime", asked.after[2]))
    return (low, min(high, at)) if asked.descending else (max(low, at + 1), high)
