"""Candles: 1m from gold trades, every coarser timeframe from the next finer one.

A tick computes the windows that new trades fall into, from all trades of those windows, and then of
every coarser timeframe the windows that contain a candle that changed. Of an exchange without any
the day's small files stay as they are. A recompute makes the day whole. Both give identical rows,
and a computation that changes nothing commits no rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import And
from pyiceberg.table import Table

from k2_lake.candle_rows import differing_windows, in_place
from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine, Input, statement
from k2_lake.history import (
    WINDOWS,
    Change,
    Consumed,
    Mode,
    consumed,
    head_sequence,
)
from k2_lake.lost import Followed, follow
from k2_lake.replaced import readable_rows
from k2_lake.results import StepResult
from k2_lake.retained import gone, require_held, retained, retired
from k2_lake.scan import Files, appended, between, of_day, planned
from k2_lake.tables import TRADES_TABLE, candle_name, name_of, table_def
from k2_lake.windows import changed_by, containing, reach, told
from k2_market.columns import filled
from k2_market.errors import DayRetired
from k2_market.records import CANDLE, TRADE
from k2_market.timeframes import Timeframe, timeframe

# How many of the windows that changed the result of a step names.
WINDOWS_NAMED = 100


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
    since = _since(table, source, recompute=recompute)
    done, changes = since.done, since.changes
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
    touched = None
    if not recompute and old.files and retained(source).holds(day):
        touched = _touched(engine, source, pending, frame)
    files, before, all_read = _before(engine, table, day, old, touched)
    if touched is not None and not all_read:
        # A file that cannot be read is replaced, by a tick as by a recompute: the source has it.
        touched = None
        files, before, _ = _before(engine, table, day, old, touched)
    if touched is None:
        windows = rows = _of_day(lake, engine, source, day, frame)
        extra: dict[str, str] = {}
    else:
        windows, extra = _of_windows(engine, source, day, touched, frame)
        rows = in_place(before, touched, windows)
    rows = rows.sort_by([(c, "ascending") for c in CANDLE.key])
    differing = differing_windows(before, rows)
    replaced = bool(differing) or not all_read
    candles = old.rows - files.rows + rows.num_rows
    figures = _figures(candles, windows.num_rows, len(differing), whole=touched is None)
    commit(
        table,
        add=[rows] if replaced else (),
        remove=files.files if replaced else (),
        mode=Mode.RECOMPUTE if touched is None else _mode(pending),
        days=[day] if replaced else [],
        sources={source_name: done.after(day, changes, head_sequence(source))},
        figures=figures,
        extra={**retained(table).with_restored(day).to_extra(), **extra, **told(differing)},
    )
    return StepResult.of(
        table,
        before=head_before,
        changed=replaced,
        figures=figures,
        windows=differing[:WINDOWS_NAMED],
    )


def pending_days(lake: Lake, name: str) -> dict[date, str]:
    """The days whose source has changes that ``gold.ohlcv_<name>`` has not consumed.

    Each with the newest of those changes, ``table@sequence``. Raises UnknownName.
    """
    source_name = _source_name(timeframe(name))
    since = _since(lake.table(candle_name(name)), lake.table(source_name))
    pending = since.done.pending(since.changes)
    return {day: f"{source_name}@{changes[-1].sequence}" for day, changes in pending.items()}


def _since(table: Table, source: Table, *, recompute: bool = False) -> Followed:
    """What became of the source since the candles of ``table`` followed it last."""
    name = name_of(source)
    done = consumed(table).get(name, Consumed())
    day = table_def(name).record.day
    return follow(source, done, of=name_of(table), day=day, recompute=recompute)


def _source_name(frame: Timeframe) -> str:
    return TRADES_TABLE if frame.source is None else candle_name(frame.source)


def candle_sql(frame: Timeframe, source: str | None = None) -> str:
    """The statement that makes candles of ``frame`` from ``trades`` or, coarser, ``candles``.

    ``source`` may take their place.
    """
    if frame.source is not None:
        of_window = f"unix_micros(window_start) - unix_micros(window_start) % {frame.micros}"
        return rollup_sql(of_window, f"us + {frame.micros}", source or "candles")
    made = statement("ohlcv_1m").format(us=frame.micros, source=source or "trades")
    return made + statement("ohlcv_tail").format(end=f"us + {frame.micros}")


def rollup_sql(
    window: str,
    end: str,
    source: str,
    opened: str = "window_start",
    closed: str = "window_start",
) -> str:
    """The statement that makes candles of coarser windows from the candles of ``source``.

    ``window`` is the SQL of the start of the window that a row lies in, ``end`` that of the end of
    the window that begins at ``us``, both in microseconds; the first row in the order of ``opened``
    opens a window, the last in that of ``closed`` closes it.
    """
    made = statement("ohlcv_rollup").format(
        window=window, source=source, opened=opened, closed=closed
    )
    return made + statement("ohlcv_tail").format(end=end)


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


def _mode(pending: Iterable[Change]) -> Mode:
    appended_only = all(change.mode is Mode.APPEND for change in pending)
    return Mode.APPEND if appended_only else Mode.RECOMPUTE


def _touched(
    engine: Engine, source: Table, pending: Sequence[Change], frame: Timeframe
) -> pa.Table | None:
    """The windows to compute: exchange, symbol and start in us. None where it must be the day."""
    if frame.source is not None:
        changed = changed_by(pending)
        return containing(changed, frame.micros) if changed else None
    if _mode(pending) is not Mode.APPEND:
        return None
    added = appended(source, [c.snapshot for c in pending], TRADE.schema)
    return engine.query(statement("touched_windows").format(us=frame.micros), {"added": added})


def _before(
    engine: Engine, table: Table, day: date, old: Files, touched: pa.Table | None
) -> tuple[Files, pa.Table, bool]:
    """The files to write anew: all, or those of the exchanges touched; their rows, if readable."""
    if touched is not None:
        exchanges: set[Any] = set(touched["exchange"].to_pylist())
        old = planned(table, CANDLE.schema, of_day("window_date", day, exchanges))
    return old, *readable_rows(engine, old)


def _of_windows(
    engine: Engine, source: Table, day: date, touched: pa.Table, frame: Timeframe
) -> tuple[pa.Table, dict[str, str]]:
    """The candles of the touched windows, from all that is in them, and the reach to record."""
    start, end = reach(touched, frame.length)
    exchanges: set[Any] = set(touched["exchange"].to_pylist())
    record, at = (TRADE, "timestamp") if frame.source is None else (CANDLE, "window_start")
    reached = And(of_day(record.day, day, exchanges), between(at, start, end))
    within = statement("within_windows").format(
        at=at, us=frame.micros, start=start.isoformat(), end=end.isoformat()
    )
    inputs: dict[str, Input] = {
        "rows": planned(source, record.schema, reached),
        "touched": touched,
    }
    bounds = json.dumps([start.isoformat(), end.isoformat()])
    return computed(engine, candle_sql(frame, f"({within})"), inputs), {WINDOWS: bounds}


def computed(engine: Engine, sql: str, inputs: Mapping[str, Input]) -> pa.Table:
    """The candles of a statement; nullable columns that it does not make yet are null."""
    made = engine.query(sql, inputs)
    return filled({n: made[n] for n in made.column_names}, CANDLE.schema, made.num_rows)


def _figures(candles: int, windows: int, changed: int, *, whole: bool) -> dict[str, int]:
    return {"candles": candles, "windows": windows, "changed": changed, "recomputed": int(whole)}
