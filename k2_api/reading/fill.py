"""Windows without a trade, filled with the close before them.

Filled are those between two windows with trades of an instrument: what came before the first of a
range is not looked for, and what comes after the last is not known yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_api.questions.timeframes import Grain
from k2_api.reading.candle_set import NOT_FILLED
from k2_api.reading.current import Key, keys_of

_CLOSES = ("open", "high", "low", "vwap")
_SUMS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trade_count")


def with_empty(
    rows: pa.Table, grain: Grain, after: Key | None, limit: int, *, descending: bool
) -> pa.Table:
    """At most ``limit`` candles behind the key ``after``, in the order of ``rows``.

    There is one more column, ``filled``. Ascending, the rows begin with the last one that does not
    come behind the key; descending they all do.
    """
    places = _downwards if descending else _upwards
    found = list(islice(places(keys_of(rows), grain, after), limit))
    taken = rows.take(pa.array([n for n, _ in found], pa.int64()))
    starts = [start for _, start in found]
    empty = pc.not_equal(pa.array(starts, pa.int64()), taken["window_start"].cast(pa.int64()))
    ends = [grain.after(start) for start in starts]
    columns = {name: _emptied(name, taken, empty, starts, ends) for name in taken.column_names}
    return pa.table(columns).append_column("filled", empty)


def _emptied(name: str, taken: pa.Table, empty: Any, starts: list[int], ends: list[int]) -> Any:
    column = taken[name]
    if name in _CLOSES:
        return pc.if_else(empty, taken["close"], column)
    if name in _SUMS:
        return pc.if_else(empty, pa.scalar(0).cast(column.type), column)
    if name in NOT_FILLED:
        return pc.if_else(empty, pa.scalar(None, column.type), column)
    if name == "window_start":
        return pa.array(starts, pa.int64()).cast(column.type)
    if name == "window_end":
        return pc.if_else(empty, pa.array(ends, pa.int64()).cast(column.type), column)
    if name == "window_date":
        at = pa.array(starts, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        return at.cast(column.type)
    return column


def _upwards(keys: Sequence[Key], grain: Grain, after: Key | None) -> Iterator[tuple[int, int]]:
    """The number of the row that each window takes its figures from, and its start."""
    for n, (exchange, symbol, us) in enumerate(keys):
        if n and keys[n - 1][:2] == (exchange, symbol):
            begin = keys[n - 1][2]
            if after is not None and after[:2] == (exchange, symbol):
                begin = max(begin, after[2])
            for start in grain.starts(grain.after(begin), us):
                yield n - 1, start
        if after is None or (exchange, symbol, us) > after:
            yield n, us


def _downwards(keys: Sequence[Key], grain: Grain, after: Key | None) -> Iterator[tuple[int, int]]:
    later = after
    for n, (exchange, symbol, us) in enumerate(keys):
        if later is not None and later[:2] == (exchange, symbol):
            start = grain.before(later[2])
            while start > us:
                yield n, start
                start = grain.before(start)
        yield n, us
        later = (exchange, symbol, us)
