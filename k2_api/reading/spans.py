"""Which files may hold rows of an instrument, and from when to when, by the table's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_api.reading.asked import Asked
from k2_api.reading.slices import MICROSECOND, Amount, Span
from k2_api.reading.symbols import FULL_BOUND, bounds
from k2_lake.scan import Files

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def spans_of(
    asked: Asked, table: Table, files: Files, newer: pa.Table | None, amount: Amount
) -> list[Span]:
    """What each file may hold of the instrument, within the range, and what no file has yet.

    The rows of a file that holds others too, or more than the range, are in proportion.
    """
    found = [
        _span(asked, table, file)
        for file in files.files
        if may_hold(table, file, amount.exchange, amount.symbol)
    ]
    spans = [span for span in found if span.first < span.end]
    if newer is not None:
        spans += _of_newer(str(asked.dataset.time), newer, amount)
    rows = sum(s.rows for s in spans)
    return [replace(s, rows=s.rows * amount.rows / rows) for s in spans]


def may_hold(table: Table, file: DataFile, exchange: str, symbol: str) -> bool:
    """Whether by its bounds the file can have rows of the instrument."""
    for column, value in (("exchange", exchange), ("symbol", symbol)):
        low, high = bounds(file, table, column)
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    return True


def all_asked_for(asked: Asked, files: Files) -> bool:
    """Whether by their bounds all rows of these files are asked for: nobody need look at them."""
    table, time = asked.table, asked.dataset.time
    if table is None or asked.conditions or asked.after is not None:
        return table is None
    return all(
        _named(table, file, "exchange", asked.exchanges)
        and _named(table, file, "symbol", asked.symbols)
        and (time is None or _within(asked, table, file, time))
        for file in files.files
    )


def _named(table: Table, file: DataFile, column: str, wanted: Sequence[str]) -> bool:
    if not wanted:
        return True
    low, high = bounds(file, table, column)
    # Iceberg cuts the bounds of longer texts: equal bounds then do not mean equal values.
    return low is not None and low == high and len(low) < FULL_BOUND and low in wanted


def _within(asked: Asked, table: Table, file: DataFile, time: str) -> bool:
    if asked.start is None and asked.end is None:
        return True
    low, high = bounds(file, table, time)
    if not isinstance(low, datetime) or not isinstance(high, datetime):
        return False
    after_start = asked.start is None or asked.start <= low
    return after_start and (asked.end is None or high < asked.end)


def _of_newer(time: str, newer: pa.Table, amount: Amount) -> list[Span]:
    its = (pc.field("exchange") == amount.exchange) & (pc.field("symbol") == amount.symbol)
    times = newer.filter(its)[time]
    if not len(times):
        return []
    ends: Any = pc.min_max(times).as_py()
    return [Span(None, ends["min"], ends["max"] + MICROSECOND, len(times))]


def _span(asked: Asked, table: Table, file: DataFile) -> Span:
    """The file's times within the range; all times for a file that does not tell."""
    low, high = bounds(file, table, str(asked.dataset.time))
    low, high = low or FIRST, LAST if high is None else high + MICROSECOND
    first = low if asked.start is None else max(low, asked.start)
    end = high if asked.end is None else min(high, asked.end)
    return Span(file, first, end, file.record_count * ((end - first) / (high - low)))
