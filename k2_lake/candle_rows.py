"""Candles of a day before and after: what is put in place, and which windows differ."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_lake.windows import Window
from k2_market.records import CANDLE


def in_place(before: pa.Table, touched: pa.Table, windows: pa.Table) -> pa.Table:
    """``before`` with the candles of ``windows`` in the place of those of the touched windows.

    ``touched`` has the columns exchange, symbol and us, the start in microseconds since 1970.
    """
    starts = touched["us"].cast(pa.int64()).cast(CANDLE.schema.field("window_start").type)
    keys = touched.select(["exchange", "symbol"]).append_column("window_start", starts)
    kept = _numbered(before, "row").join(keys, keys=list(CANDLE.key), join_type="left anti")
    return pa.concat_tables([before.take(kept["row"]), windows])


def differing_windows(before: pa.Table, after: pa.Table) -> list[Window]:
    """The windows whose candle is in one of the two and not, or not equally, in the other."""
    keys = list(CANDLE.key)
    old, new = _numbered(before, "old"), _numbered(after, "new")
    both = old.join(new, keys=keys, join_type="inner")
    then, now = before.take(both["old"]), after.take(both["new"])
    changed: Any = pa.repeat(False, both.num_rows)
    for name in CANDLE.columns:
        changed = pc.or_(changed, _unlike(then[name], now[name]))
    alone = [one.join(both, keys=keys, join_type="left anti") for one in (old, new)]
    found: list[Any] = [
        row for rows in (both.filter(changed), *alone) for row in rows.select(keys).to_pylist()
    ]
    return sorted((row["exchange"], row["symbol"], row["window_start"]) for row in found)


def _numbered(candles: pa.Table, number: str) -> pa.Table:
    """The keys of the candles and the number of each row."""
    rows = pa.array(range(candles.num_rows), pa.int64())
    return candles.select(list(CANDLE.key)).append_column(number, rows)


def _unlike(old: pa.ChunkedArray[Any], new: pa.ChunkedArray[Any]) -> Any:
    """Row by row, whether the values differ; nulls are alike."""
    if pa.types.is_nested(old.type):
        pairs = zip(old.to_pylist(), new.to_pylist(), strict=True)
        return pa.array([one != other for one, other in pairs], pa.bool_())
    alike = pc.coalesce(pc.equal(old, new), pc.and_(old.is_null(), new.is_null()))
    return pc.invert(alike)
