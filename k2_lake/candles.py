"""Candles: 1m from gold trades, every coarser timeframe from the next finer one.

A tick computes the windows that new trades fall into, from all trades of those windows, and
rewrites the day's small files. A recompute makes the day whole. Both give identical rows, and a
computation that changes nothing commits no rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine, Input, statement
from k2_lake.history import (
    WINDOWS,
    Change,
    Consumed,
    Mode,
    changes_since,
    consumed,
    head_sequence,
)
from k2_lake.replaced import readable_rows
from k2_lake.results import StepResult
from k2_lake.retained import gone, require_held, retained, retired
from k2_lake.scan import appended, between, of_day, planned
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.columns import filled
from k2_market.errors import DayRetired
from k2_market.records import CANDLE, TRADE
from k2_market.timeframes import Timeframe, timeframe

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@retry_conflicts
def build_candles(
    lake: Lake, engine: Engine, name: str, day: date, *, recompute: bool = False
) -> StepResult:
    """Bring one day of ``gold.ohlcv_<name>`` up to date with its source.

    Figures: candles (rows of the day afterwards), windows (computed), changed (rows that differ
    from before), recomputed (1 if the whole day was computed); beyond_retention (1), where the day
    was dropped here or in all that it is made of, so that it stays as it is. Where only the next
    finer timeframe has dropped it, what that is made of takes its place. Raises UnknownName, and
    DayRetired when asked to compute a day that nothing holds any more.
    """
    frame = timeframe(name)
    source_name = _source_name(frame)
    table, source = lake.table(candle_name(name)), lake.table(source_name)
    done = consumed(table).get(source_name, Consumed())
    changes = changes_since(source, done.through)
    pending = done.pending(changes).get(day, [])
    old = planned(table, CANDLE.schema, of_day("window_date", day))
    if not pending and not recompute:
        figures = _figures(old.rows, 0, 0, whole=False)
        return StepResult.of(table, before=head_sequence(table), changed=False, figures=figures)
    held = retained(source).holds(day) or _is_held(lake, frame, day)
    if recompute and not held:
        raise _nothing_holds(lake, frame, day)
    if not recompute and not (held and retained(table).holds(day)):
        seen = {source_name: done.after(day, changes, head_sequence(source))}
        return _left_alone(table, day, seen, old.rows)
    head_before = head_sequence(table)
    before, all_read = readable_rows(engine, old)
    # A file that cannot be read is replaced, by a tick as by a recompute: the source has it all.
    partial = (
        frame.source is None
        and not recompute
        and all_read
        and before.num_rows
        and _only_appends(pending)
    )
    extra = retained(table).with_restored(day).to_extra()
    if partial:
        touched = _touched(engine, source, pending, frame)
        start, end = _reach(touched, frame)
        windows = _of_windows(engine, source, day, touched, frame)
        rows = _replaced(before, windows)
        extra |= {WINDOWS: json.dumps([start.isoformat(), end.isoformat()])}
    else:
        windows = rows = _of_day(lake, engine, source, day, frame)
    rows = rows.sort_by([(c, "ascending") for c in CANDLE.key])
    differing = _differing(before, rows)
    replaced = differing > 0 or not all_read
    figures = _figures(rows.num_rows, windows.num_rows, differing, whole=not partial)
    commit(
        table,
        add=[rows] if replaced else (),
        remove=old.files if replaced else (),
        mode=Mode.APPEND if partial else Mode.RECOMPUTE,
        days=[day] if replaced else [],
        sources={source_name: done.after(day, changes, head_sequence(source))},
        figures=figures,
        extra=extra,
    )
    return StepResult.of(table, before=head_before, changed=replaced, figures=figures)


def pending_days(lake: Lake, name: str) -> dict[date, str]:
    """The days whose source has changes that ``gold.ohlcv_<name>`` has not consumed.

    Each with the newest of those changes, ``table@sequence``. Raises UnknownName.
    """
    source_name = _source_name(timeframe(name))
    done = consumed(lake.table(candle_name(name))).get(source_name, Consumed())
    pending = done.pending(changes_since(lake.table(source_name), done.through))
    return {day: f"{source_name}@{changes[-1].sequence}" for day, changes in pending.items()}


def _source_name(frame: Timeframe) -> str:
    return TRADES_TABLE if frame.source is None else candle_name(frame.source)


def candle_sql(frame: Timeframe, trades: str = "trades") -> str:
    """The statement that makes candles of ``frame`` from ``trades`` or, coarser, ``candles``."""
    head = statement("ohlcv_1m" if frame.source is None else "ohlcv_rollup")
    return head.format(us=frame.micros, trades=trades) + statement("ohlcv_tail").format(
        us=frame.micros
    )


def _of_day(lake: Lake, engine: Engine, source: Table, day: date, frame: Timeframe) -> pa.Table:
    """All candles of the day, from the next finer timeframe that holds it, or from the trades."""
    inputs: dict[str, Input]
    if frame.source is None:
        require_held(source, day, of=candle_name(frame.name))
        inputs = {"trades": planned(source, TRADE.schema, of_day("trade_date", day))}
    elif retained(source).holds(day):
        inputs = {"candles": planned(source, CANDLE.schema, of_day("window_date", day))}
    else:
        finer = timeframe(frame.source)
        of_finer = lake.table(_source_name(finer))
        inputs = {"candles": _of_day(lake, engine, of_finer, day, finer)}
    return computed(engine, candle_sql(frame), inputs)


def _sources(frame: Timeframe) -> list[str]:
    """What candles of ``frame`` can be made of, the next finer timeframe first."""
    name = _source_name(frame)
    return [name, *(_sources(timeframe(frame.source)) if frame.source else [])]


def _is_held(lake: Lake, frame: Timeframe, day: date) -> bool:
    """Whether anything that its candles can be made of holds the day."""
    return any(retained(lake.table(name)).holds(day) for name in _sources(frame))


def _nothing_holds(lake: Lake, frame: Timeframe, day: date) -> DayRetired:
    told = gone(map(lake.table, _sources(frame)), day) or ""
    first = f"materialize {TRADES_TABLE} of that day first"
    return retired(candle_name(frame.name), day, told, first)


def _left_alone(table: Table, day: date, seen: Mapping[str, Consumed], rows: int) -> StepResult:
    """Note that the changes were seen, and pass them on to what may still hold the day."""
    figures = {**_figures(rows, 0, 0, whole=False), "beyond_retention": 1}
    before = head_sequence(table)
    passed_on = not retained(table).holds(day)
    commit(
        table,
        mode=Mode.RECOMPUTE,
        days=[day] if passed_on else [],
        sources=seen,
        figures=figures,
    )
    return StepResult.of(table, before=before, changed=False, figures=figures)


def _only_appends(pending: Iterable[Change]) -> bool:
    return all(change.mode is Mode.APPEND for change in pending)


def _touched(
    engine: Engine, source: Table, pending: Sequence[Change], frame: Timeframe
) -> pa.Table:
    added = appended(source, [c.snapshot for c in pending], TRADE.schema)
    return engine.query(statement("touched_windows").format(us=frame.micros), {"added": added})


def _of_windows(
    engine: Engine, source: Table, day: date, touched: pa.Table, frame: Timeframe
) -> pa.Table:
    """The candles of the touched windows, from all trades in them."""
    start, end = _reach(touched, frame)
    exchanges: set[Any] = set(touched["exchange"].to_pylist())
    reached = And(of_day("trade_date", day, exchanges), between("timestamp", start, end))
    trades = planned(source, TRADE.schema, reached)
    within = statement("trades_in_windows").format(
        us=frame.micros, start=start.isoformat(), end=end.isoformat()
    )
    inputs: dict[str, Input] = {"trades": trades, "touched": touched}
    return computed(engine, candle_sql(frame, f"({within})"), inputs)


def computed(engine: Engine, sql: str, inputs: Mapping[str, Input]) -> pa.Table:
    """The candles of a statement; nullable columns that it does not make yet are null."""
    made = engine.query(sql, inputs)
    return filled({n: made[n] for n in made.column_names}, CANDLE.schema, made.num_rows)


def _reach(touched: pa.Table, frame: Timeframe) -> tuple[datetime, datetime]:
    """From the start of the first window to the end of the last."""
    starts: list[Any] = touched["us"].to_pylist()
    start = EPOCH + timedelta(microseconds=min(starts))
    return start, EPOCH + timedelta(microseconds=max(starts)) + frame.length


def _replaced(before: pa.Table, windows: pa.Table) -> pa.Table:
    """``before`` with the rows of ``windows`` in place of those with the same key."""
    keys = list(CANDLE.key)
    kept = _numbered(before, "row").join(windows.select(keys), keys=keys, join_type="left anti")
    return pa.concat_tables([before.take(kept["row"]), windows])


def _differing(before: pa.Table, after: pa.Table) -> int:
    """Rows that are in one of the two and not in the other, a changed row counted once."""
    keys = list(CANDLE.key)
    both = _numbered(before, "old").join(_numbered(after, "new"), keys=keys, join_type="inner")
    old, new = before.take(both["old"]), after.take(both["new"])
    changed: Any = pa.repeat(False, both.num_rows)
    for name in CANDLE.columns:
        changed = pc.or_(changed, _unlike(old[name], new[name]))
    alone = before.num_rows + after.num_rows - 2 * both.num_rows
    return alone + int(pc.sum(changed, min_count=0).as_py())


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


def _figures(candles: int, windows: int, changed: int, *, whole: bool) -> dict[str, int]:
    return {"candles": candles, "windows": windows, "changed": changed, "recomputed": int(whole)}
