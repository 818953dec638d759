"""How a long answer is cut: into slices that follow one another in the order of rows.

A slice is small enough to be sorted in memory, or it is of one file, whose rows lie in order
already and are read as they lie. Where to cut is judged from what the table's metadata says of its
files: their rows and times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from math import ceil

from pyiceberg.manifest import DataFile

# So many rows take some 30 MB, and 0.1 s to be sorted; fewer, and most of the time goes into
# looking for them.
SLICE_ROWS = 150_000
# A part of one file with fewer rows is sorted with its neighbours, rather than read by itself.
WORTH_ALONE = SLICE_ROWS // 3
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Amount:
    """About how many rows an instrument has in the range."""

    exchange: str
    symbol: str
    rows: float


@dataclass(frozen=True)
class Span:
    """The part of a file that is one instrument's: its times and about how many rows.

    None stands for the rows that no file has yet, as if they were one.
    """

    file: DataFile | None
    first: datetime
    end: datetime
    rows: float

    def between(self, first: datetime, end: datetime) -> float:
        """About how many of the rows are in that part of its time."""
        return self.rows * (min(end, self.end) - max(first, self.first)) / (self.end - self.first)


@dataclass(frozen=True)
class Slice:
    """The rows of these symbols in [first, end), which are in these files (None: see Span)."""

    exchange: str
    symbols: tuple[str, ...]
    first: datetime
    end: datetime
    files: tuple[DataFile | None, ...]
    rows: float

    @property
    def of_one_file(self) -> bool:
        """Whether all rows are in a single file."""
        return len(self.files) == 1 and self.files[0] is not None


def together(amounts: Iterable[Amount]) -> Iterator[list[Amount]]:
    """Instruments that fit into one slice, or one that does not; in their order, by exchange."""
    for _, of_exchange in groupby(amounts, key=lambda a: a.exchange):
        group: list[Amount] = []
        for amount in of_exchange:
            if group and sum(a.rows for a in group) + amount.rows > SLICE_ROWS:
                yield group
                group = []
            group.append(amount)
        yield group


def cut(exchange: str, symbol: str, spans: Sequence[Span], *, alone: bool) -> Iterator[Slice]:
    """The slices of one instrument, by time; ``alone`` allows for long ones of a single file."""
    waiting: Slice | None = None
    for part in _stretches(exchange, symbol, spans):
        single = alone and part.of_one_file and part.rows >= WORTH_ALONE
        if waiting is not None and (single or waiting.rows + part.rows > SLICE_ROWS):
            yield from _pieces(waiting)
            waiting = None
        if single:
            yield part
        else:
            waiting = part if waiting is None else _joined(waiting, part)
    if waiting is not None:
        yield from _pieces(waiting)


def _stretches(exchange: str, symbol: str, spans: Sequence[Span]) -> Iterator[Slice]:
    """The whole time, cut wherever a file begins or ends; less the times of none."""
    begins = deque(sorted(spans, key=lambda s: s.first))
    active: list[Span] = []
    times = sorted({s.first for s in spans} | {s.end for s in spans})
    for first, end in pairwise(times):
        active = [s for s in active if s.end > first]
        while begins and begins[0].first <= first:
            active.append(begins.popleft())
        if active:
            rows = sum(s.between(first, end) for s in active)
            yield Slice(exchange, (symbol,), first, end, tuple(s.file for s in active), rows)


def _joined(one: Slice, other: Slice) -> Slice:
    files = dict.fromkeys((*one.files, *other.files))
    return replace(one, end=other.end, files=tuple(files), rows=one.rows + other.rows)


def _pieces(whole: Slice) -> Iterator[Slice]:
    """The slice in equal times, if it has too many rows."""
    length = whole.end - whole.first
    parts = max(1, min(ceil(whole.rows / SLICE_ROWS), length // MICROSECOND))
    times = [whole.first + length * n // parts for n in range(parts + 1)]
    for first, end in pairwise(times):
        yield replace(whole, first=first, end=end, rows=whole.rows / parts)
