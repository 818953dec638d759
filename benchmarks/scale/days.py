"""One day of many trades: gold and its candles on either engine, timed, and compared."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from benchmarks.figures import Progress
from benchmarks.market import EXCHANGE, Market
from benchmarks.stages import new_lake
from k2_lake.candles import build_candles
from k2_lake.catalog import Lake
from k2_lake.commit import commit
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import Engine
from k2_lake.gold import merge
from k2_lake.history import Consumed, Mode
from k2_lake.scan import of_day, planned
from k2_lake.spark.engine import SparkEngine
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import TRADES_TABLE, bronze_name, candle_name, silver_name
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind
from k2_market.records import CANDLE, TRADE
from k2_market.timeframes import TIMEFRAMES

DAY = date(2024, 8, 8)
SILVER, BRONZE = silver_name(EXCHANGE, Kind.TRADES), bronze_name(EXCHANGE, Kind.TRADES)
AT_ONCE = 1_000_000
# Of a hundred trades one comes twice, as where connections overlap: every day has repeats.
ONE_IN = 100
DAY_US = 86_400_000_000
COARSER = [name for name in TIMEFRAMES if name != "1m"]
CORES = os.cpu_count() or 1


@dataclass
class Day:
    """What a day of ``trades`` took: seconds by engine and step, and what lies on the disk."""

    trades: int
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    candles: int = 0

    @contextmanager
    def timed(self, engine: Engine, step: str) -> Iterator[None]:
        """The seconds inside go to that step on that engine."""
        started = time.perf_counter()
        yield
        self.seconds[engine.name, step] = time.perf_counter() - started

    def a_core(self, engine: str, step: str) -> float:
        """Trades per second and core."""
        return self.trades / self.seconds[engine, step] / CORES


@dataclass(frozen=True)
class Limits:
    """The largest days whose gold is computed on Spark, and in memory on DuckDB."""

    gold: int
    in_memory: int

    def allow(self, engine: Engine, trades: int) -> bool:
        """Whether that engine computes the gold of such a day."""
        return trades <= (self.in_memory if engine.name == DuckDBEngine.name else self.gold)


def measured(trades: int, home: Path, spark: SparkSettings, limits: Limits, tell: Progress) -> Day:
    """A day of so many trades on both engines: gold from silver within ``limits``, and its candles.

    Raises InvariantBroken unless both engines make the same.
    """
    lake, day = new_lake(home), Day(trades)
    engines: list[Engine] = [DuckDBEngine(), SparkEngine(spark, lake)]
    able = [engine for engine in engines if limits.allow(engine, trades)]
    for rows in _market(trades, tell):
        name, filled = (
            (SILVER, _with_repeats(rows, trades)) if able else (TRADES_TABLE, _sorted(rows))
        )
        sources = {BRONZE: Consumed()} if able else None
        commit(lake.table(name), add=[filled], mode=Mode.APPEND, days=[DAY], sources=sources)
    for engine in able:
        tell(f"gold of {trades:,} trades on {engine.name}")
        with day.timed(engine, "gold"):
            made = merge(lake, engine, Kind.TRADES, DAY, recompute=True)
        _require_equal("trades of gold", made.figures["added"], trades)
    found = planned(lake.table(TRADES_TABLE), TRADE.schema, of_day("trade_date", DAY))
    day.files, day.bytes = len(found.files), sum(f.file_size_in_bytes for f in found.files)
    candles = [_candles_by(engine, lake, day, tell) for engine in engines]
    _require_equal("candles", candles[1], candles[0])
    day.candles = len(candles[0])
    return day


def _candles_by(engine: Engine, lake: Lake, day: Day, tell: Progress) -> list[Mapping[str, object]]:
    """All candles of the day as that engine makes them; they are gone afterwards."""
    tell(f"candles of {day.trades:,} trades on {engine.name}")
    with day.timed(engine, "1m"):
        build_candles(lake, engine, "1m", DAY, recompute=True)
    with day.timed(engine, "5m to 1d"):
        for name in COARSER:
            build_candles(lake, engine, name, DAY, recompute=True)
    found = _candles(lake)
    _drop_candles(lake)
    return found


def _market(trades: int, tell: Progress) -> Iterator[pa.Table]:
    """The trades of the day in the order in which they came, a million at a time."""
    market = Market(DAY, DAY_US // trades)
    for first in range(0, trades, AT_ONCE):
        tell(f"writing {first:,} of {trades:,} trades")
        yield market.trades(first, min(AT_ONCE, trades - first), DAY)


def _with_repeats(rows: pa.Table, offset: int) -> pa.Table:
    again = rows.filter(pa.array([i % ONE_IN == 0 for i in range(rows.num_rows)]))
    return pa.concat_tables([rows, _later(again, offset)])


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(column, "ascending") for column in TRADE.order])


def _later(rows: pa.Table, offset: int) -> pa.Table:
    """The same trades, received again: later, and in another place of Kafka."""
    for name, more in (("ingestion_timestamp", timedelta(seconds=1)), ("kafka_offset", offset)):
        place, of = rows.schema.get_field_index(name), rows.schema.field(name)
        moved = pa.compute.add(rows[name], pa.scalar(more))
        rows = rows.set_column(place, of, moved.cast(of.type))
    return rows


def _candles(lake: Lake) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = []
    for name in TIMEFRAMES:
        files = planned(lake.table(candle_name(name)), CANDLE.schema)
        sql = "select * from candles order by exchange, symbol, window_start"
        found += DuckDBEngine().query(sql, {"candles": files}, CANDLE.schema).to_pylist()
    return found


def _drop_candles(lake: Lake) -> None:
    """So that the next engine begins from nothing: what is there already would not be written."""
    for name in TIMEFRAMES:
        lake.catalog.drop_table(candle_name(name))
        lake.table(candle_name(name))


def _require_equal(what: str, found: object, expected: object) -> None:
    if found != expected:
        told = f": {found} and {expected}" if isinstance(found, int) else ""
        raise InvariantBroken(f"the {what} of both engines differ{told}")
