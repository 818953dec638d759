"""Every figure followed back: candle, trades, rows of silver, and the frames as they came.

Each table is looked at in the state that the table after it was made from, so what is shown belongs
together even while a tick is under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And, BooleanExpression, EqualTo, In
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_lake.candles import candle_sql
from k2_lake.catalog import Lake
from k2_lake.engine import Engine, Input, statement
from k2_lake.history import Consumed, consumed, lineage
from k2_lake.scan import Files, between, of_day, planned
from k2_lake.tables import TRADES_TABLE, bronze_name, candle_name, name_of, silver_name, table_def
from k2_lake.travel.origins import Origin, origins
from k2_lake.travel.snapshots import state_up_to, written_table
from k2_market.kinds import Kind
from k2_market.records import INSTANT, RAW_FRAME, TRADE
from k2_market.timeframes import TIMEFRAMES, Timeframe

_PLACE = ("epoch", "kafka_partition", "kafka_offset")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class TracedTrade:
    """A trade of gold, the rows of silver that report it, and the frames these came in.

    ``silver[0]`` is the one that gold kept, the others are repeats; ``frames`` are in their order,
    None for a frame that bronze no longer holds.
    """

    trade: Row
    silver: tuple[Row, ...]
    frames: tuple[Row | None, ...]

    @property
    def agrees(self) -> bool:
        """Whether gold has exactly what silver has in that place."""
        return bool(self.silver) and dict(self.silver[0]) == dict(self.trade)


@dataclass(frozen=True)
class Trace:
    """A candle, or a trade where ``candle`` is None, and what it was made of.

    ``trades`` are the first of ``trades_in_all``, of which the exchange counts ``counted`` in
    candles. ``silver_in_all`` rows of silver report them, ``repeats`` of these repeat another.
    ``commits`` are those that brought what is shown. ``recomputed`` is the candle made anew from
    all its trades, None where they are no longer held.
    """

    table: str
    candle: Row | None
    trades: tuple[TracedTrade, ...]
    trades_in_all: int
    counted: int
    silver_in_all: int
    repeats: int
    commits: tuple[Origin, ...]
    recomputed: Row | None = None

    @property
    def verified(self) -> bool:
        """Whether the figures follow from what they were made of."""
        if self.candle is not None:
            return self.recomputed is not None and dict(self.recomputed) == dict(self.candle)
        return all(t.agrees for t in self.trades)


@dataclass(frozen=True)
class State:
    """A table as the one after it was made from it, and where in it the rows in question are."""

    table: Table
    snapshot: Snapshot
    where: BooleanExpression

    def files(self) -> Files:
        """The files that may hold the rows."""
        schema = table_def(name_of(self.table)).schema
        return planned(self.table, schema, self.where, self.snapshot.snapshot_id)


def trace_candle(
    lake: Lake, engine: Engine, frame: Timeframe, candle: pa.Table, limit: int
) -> Trace:
    """Follow one candle, the only row of ``candle``, back; at most ``limit`` trades are shown."""
    [row] = candle.to_pylist()
    start, day = row["window_start"], row["window_date"]
    own = written_table(lake, candle_name(frame.name))
    here = And(of_day("window_date", day, [row["exchange"]]), EqualTo("symbol", row["symbol"]))
    state = State(own, lineage(own)[0], here)
    where = _all(
        of_day("trade_date", day, [row["exchange"]]),
        EqualTo("symbol", row["symbol"]),
        between("timestamp", start, start + frame.length),
    )
    gold = State(written_table(lake, TRADES_TABLE), _trades_then(lake, own, frame, day), where)
    window = pa.table(
        {
            "exchange": [row["exchange"]],
            "symbol": [row["symbol"]],
            "first": pa.array([start], INSTANT),
            "until": pa.array([start + frame.length], INSTANT),
        }
    )
    inputs: dict[str, Input] = {"source": gold.files(), "window_": window}
    inside = statement("in_window")
    sql = candle_sql(replace(frame, source=None), f"({inside})")
    made = engine.query(sql, inputs, candle.schema).to_pylist()
    sql = f"select * from ({inside}) t order by source_sequence, trade_id limit {int(limit)}"
    trades = engine.query(sql, inputs, TRADE.schema)
    sql = f"select count(*) as n, count(*) filter (where candle_eligible) as c from ({inside}) t"
    [counts] = engine.query(sql, inputs).to_pylist()
    below = _followed(lake, engine, gold, trades, day, window)
    return replace(
        below,
        table=name_of(own),
        candle=row,
        trades_in_all=counts["n"],
        counted=counts["c"],
        commits=(*origins(engine, own, state.snapshot, here, candle), *below.commits),
        recomputed=made[0] if made else None,
    )


def trace_trade(lake: Lake, engine: Engine, trade: pa.Table) -> Trace:
    """Follow one trade, the only row of ``trade``, back."""
    [row] = trade.to_pylist()
    table = written_table(lake, TRADES_TABLE)
    where = _all(
        of_day("trade_date", row["trade_date"], [row["exchange"]]),
        EqualTo("symbol", row["symbol"]),
        EqualTo("source_sequence", row["source_sequence"]),
    )
    gold = State(table, lineage(table)[0], where)
    found = _followed(lake, engine, gold, trade, row["trade_date"], None)
    return replace(found, trades_in_all=1, counted=int(row["candle_eligible"]))


def _trades_then(lake: Lake, table: Table, frame: Timeframe, day: date) -> Snapshot:
    """The state of the trades that the head of a candle table was made from, for that day."""
    at = lineage(table)[0]
    for name in _finer(frame):
        source = written_table(lake, name)
        at, table = _consumed_state(table, at, source, day), source
    return at


def _finer(frame: Timeframe) -> list[str]:
    names, source = [], frame.source
    while source is not None:
        names.append(candle_name(source))
        source = TIMEFRAMES[source].source
    return [*names, TRADES_TABLE]


def _consumed_state(table: Table, at: Snapshot, source: Table, day: date) -> Snapshot:
    """What ``table`` had consumed of ``source`` for the day; the oldest kept if that expired."""
    done = consumed(table, at.sequence_number).get(name_of(source), Consumed())
    return state_up_to(source, done.of(day))


def _followed(
    lake: Lake, engine: Engine, gold: State, trades: pa.Table, day: date, window: pa.Table | None
) -> Trace:
    """The trades with their silver rows and frames; ``window`` also counts those not shown."""
    if not trades.num_rows:
        return Trace(TRADES_TABLE, None, (), 0, 0, 0, 0, ())
    exchange = trades["exchange"][0].as_py()
    silver = _silver_state(lake, gold, exchange, trades, day)
    sql = statement("trace_silver").format(columns=", ".join(f"s.{c}" for c in TRADE.columns))
    reports = engine.query(sql, {"silver": silver.files(), "trades": trades}, TRADE.schema)
    bronze = _bronze_state(lake, silver, exchange, reports)
    frames = _frames(engine, bronze, reports)
    told = None if window is None else _counts(engine, silver, window, day)
    return Trace(
        table=TRADES_TABLE,
        candle=None,
        trades=tuple(_traced(trades, reports, frames)),
        trades_in_all=trades.num_rows,
        counted=trades.num_rows,
        silver_in_all=reports.num_rows if told is None else told[0],
        repeats=reports.num_rows - trades.num_rows if told is None else told[1],
        commits=(
            *origins(engine, gold.table, gold.snapshot, gold.where, trades),
            *origins(engine, silver.table, silver.snapshot, silver.where, reports),
            *origins(engine, bronze.table, bronze.snapshot, bronze.where, frames),
        ),
    )


def _silver_state(lake: Lake, gold: State, exchange: str, trades: pa.Table, day: date) -> State:
    table = written_table(lake, silver_name(exchange, Kind.TRADES))
    at = _consumed_state(gold.table, gold.snapshot, table, day)
    first, last = _bounds(trades, "timestamp")
    where = _all(
        EqualTo("trade_date", day),
        EqualTo("symbol", trades["symbol"][0].as_py()),
        between("timestamp", first, last + timedelta(microseconds=1)),
    )
    return State(table, at, where)


def _bronze_state(lake: Lake, silver: State, exchange: str, reports: pa.Table) -> State:
    table = written_table(lake, bronze_name(exchange, Kind.TRADES))
    days = reports["ingest_date"].unique().to_pylist()
    # Silver follows bronze whole, so any day tells how far.
    at = _consumed_state(silver.table, silver.snapshot, table, date.min)
    offsets = reports["kafka_offset"].unique().to_pylist()
    return State(table, at, And(In("ingest_date", days), In("kafka_offset", offsets)))


def _frames(engine: Engine, bronze: State, reports: pa.Table) -> pa.Table:
    columns = ", ".join(f"s.{c}" for c in RAW_FRAME.columns)
    order = ", ".join(f"s.{c}" for c in _PLACE)
    sql = statement("of_frames").format(columns=columns, negation="", order=order)
    places = reports.select(list(_PLACE)).group_by(list(_PLACE)).aggregate([])
    return engine.query(sql, {"source": bronze.files(), "places": places}, RAW_FRAME.schema)


def _counts(engine: Engine, silver: State, window: pa.Table, day: date) -> tuple[int, int]:
    """How many rows of silver are in the window, and how many of them repeat another."""
    of_day_ = replace(silver, where=EqualTo("trade_date", day))
    sql = f"select count(*) as n, count(distinct trade_id) as ids from ({statement('in_window')}) t"
    [row] = engine.query(sql, {"source": of_day_.files(), "window_": window}).to_pylist()
    return row["n"], row["n"] - row["ids"]


def _traced(trades: pa.Table, reports: pa.Table, frames: pa.Table) -> Sequence[TracedTrade]:
    by_place = {_place(f): f for f in frames.to_pylist()}
    by_id: dict[str, list[Row]] = {}
    for report in reports.to_pylist():
        by_id.setdefault(report["trade_id"], []).append(report)
    found = []
    for trade in trades.to_pylist():
        rows = sorted(by_id.get(trade["trade_id"], []), key=lambda r: not _same_place(r, trade))
        found.append(TracedTrade(trade, tuple(rows), tuple(by_place.get(_place(r)) for r in rows)))
    return found


def _same_place(one: Row, other: Row) -> bool:
    return _place(one) == _place(other) and one["frame_index"] == other["frame_index"]


def _place(row: Row) -> tuple[Any, ...]:
    return tuple(row[c] for c in _PLACE)


def _bounds(rows: pa.Table, column: str) -> tuple[datetime, datetime]:
    found: Any = pc.min_max(rows[column]).as_py()
    return found["min"], found["max"]


def _all(*conditions: BooleanExpression) -> BooleanExpression:
    return reduce(And, conditions)
