"""What a tick costs on an empty day and on a full one: 10,000 new trades each, in turn.

Both days are in the same lake, so that its history weighs on both alike. A tick is everything that
the job does: every exchange drained and refined, gold, five timeframes, and what the checks read.
It is measured twice, as the functions that the assets call and as a run of Dagster in process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

import dagster as dg

from benchmarks.figures import Figure, Progress, Watch
from benchmarks.market import EXCHANGE, Market
from benchmarks.stages import new_lake, produce
from k2_assets.checks import conforms
from k2_assets.definitions import definitions
from k2_assets.ingest import drain
from k2_assets.resources import BROKER_FOLDER
from k2_assets.tables import MODE_TAG, TICK
from k2_cli.home import environment, prepare_dagster
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.parsing import frames as parsing
from k2_lake.candles import build_candles
from k2_lake.catalog import Lake
from k2_lake.commit import commit
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import Engine
from k2_lake.gold import merge
from k2_lake.history import Consumed, Mode, head_sequence
from k2_lake.letters import rejected_of_day
from k2_lake.quality.audit import (
    gold_reconciled,
    offsets_contiguous,
    offsets_recorded,
    silver_reconciled,
)
from k2_lake.quality.candle_audit import minutes_reconciled, rollup_reconciled
from k2_lake.scope import Scope, Verdict
from k2_lake.silver import refine
from k2_lake.tables import TABLES, TRADES_TABLE, bronze_name, candle_name, silver_name
from k2_market.candle_rules import candle_schema
from k2_market.errors import InvariantBroken
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from k2_market.trade_rules import TRADE_RULES

TO_REACH = 1.5
# The day has grown by ticks, and maintenance has made larger files of their small ones.
TRADES_PER_FILE = 250_000


def measure(
    full: Market, folder: Path, *, trades: int, new: int, rounds: int, tell: Progress
) -> list[Figure]:
    """Ticks of ``new`` trades on empty days and on one of ``trades``; ratios pair by pair."""
    home = folder / "tick"
    lake = new_lake(home)
    fill(lake, full, trades, tell)
    ticks = partial(_pairs, full, trades=trades, new=new, rounds=rounds)
    with start_broker(home / BROKER_FOLDER) as broker:
        functions = partial(tick, lake, DuckDBEngine(), broker.settings)
        tell("ticks as functions")
        plain = ticks(functions, broker.settings, first_round=0)
        with _dagster(home) as instance:
            runs = partial(_run, definitions(str(home)), instance)
            tell("ticks as Dagster runs")
            dagster = ticks(runs, broker.settings, first_round=rounds + 1)
    return [*_figures("tick", plain), *_figures("Dagster tick", dagster)]


def fill(lake: Lake, market: Market, trades: int, tell: Progress) -> None:
    """The first trades of the day into silver, gold and candles."""
    engine, silver = DuckDBEngine(), lake.table(silver_name(EXCHANGE, Kind.TRADES))
    arrived = datetime.now(UTC).date()
    for first in range(0, trades, TRADES_PER_FILE):
        tell(f"filling the day: {first:,} of {trades:,} trades")
        commit(
            silver,
            add=[market.trades(first, min(TRADES_PER_FILE, trades - first), arrived)],
            mode=Mode.APPEND,
            days=[market.day],
            sources={bronze_name(EXCHANGE, Kind.TRADES): Consumed()},
        )
        merge(lake, engine, Kind.TRADES, market.day)
    for name in TIMEFRAMES:
        build_candles(lake, engine, name, market.day)


def tick(lake: Lake, engine: Engine, kafka: KafkaSettings, day: date) -> None:
    """What the job does for a day, its checks as well. Raises InvariantBroken if one fails."""
    before = {name: head_sequence(lake.table(name)) for name in TABLES}
    for exchange in EXCHANGES:
        drain(lake, kafka, exchange, Kind.TRADES)
        refine(lake, engine, exchange, Kind.TRADES, partial(parsing.parse, exchange, Kind.TRADES))
    rejected_of_day(lake, engine, day)
    merge(lake, engine, Kind.TRADES, day)
    for name in TIMEFRAMES:
        build_candles(lake, engine, name, day)
    for verdict in _checks(lake, engine, before, day):
        if not verdict.agrees:
            raise InvariantBroken(f"a check of the tick of {day} failed: {dict(verdict.figures)}")


def _checks(lake: Lake, engine: Engine, before: dict[str, int], day: date) -> Iterator[Verdict]:
    for exchange in EXCHANGES:
        bronze, silver = (
            Scope(name, day, before[name])
            for name in (bronze_name(exchange, Kind.TRADES), silver_name(exchange, Kind.TRADES))
        )
        yield offsets_contiguous(lake, engine, bronze)
        yield offsets_recorded(lake, engine, bronze)
        yield conforms(TRADE_RULES.schema, lake, engine, silver)
        yield silver_reconciled(lake, engine, silver, exchange, Kind.TRADES)
    gold = Scope(TRADES_TABLE, day, before[TRADES_TABLE])
    yield conforms(TRADE_RULES.schema, lake, engine, gold)
    yield gold_reconciled(lake, engine, gold, Kind.TRADES)
    for name, frame in TIMEFRAMES.items():
        table = candle_name(name)
        yield conforms(candle_schema(name), lake, engine, Scope(table, day, None))
        if frame.source is None:
            yield minutes_reconciled(lake, engine, Scope(table, day, before[table]))
        else:
            yield rollup_reconciled(lake, engine, day, name)


def _pairs(full, do, kafka, *, trades, new, rounds, first_round):  # type: ignore[no-untyped-def]
    """Seconds of both kinds of tick, round by round; a first round warms up and is not counted."""
    watches = []
    for number in range(first_round, first_round + rounds + 1):
        watch = Watch()
        empty = Market(full.day + timedelta(days=1 + number), full.step_us)
        for name, market, first in (("empty", empty, 0), ("full", full, trades + number * new)):
            produce(kafka, market, first, new)
            with watch(name):
                do(market.day)
        watches.append(watch)
    return watches[1:]


@contextmanager
def _dagster(home: Path) -> Iterator[dg.DagsterInstance]:
    prepare_dagster(home)
    with patch.dict(os.environ, environment(home)), dg.DagsterInstance.get() as instance:
        yield instance


def _run(defs: dg.Definitions, instance: dg.DagsterInstance, day: date) -> None:
    result = defs.resolve_job_def("tick").execute_in_process(
        instance=instance,
        partition_key=day.isoformat(),
        tags={MODE_TAG: TICK},
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    # The invented ids have holes, of which a check warns.
    told = result.get_asset_check_evaluations()
    errors = [e for e in told if e.severity is dg.AssetCheckSeverity.ERROR]
    failed = [e.check_name for e in errors if not e.passed]
    if failed:
        raise InvariantBroken(f"checks of the tick of {day} failed: {failed}")


def _figures(name: str, watches: list[Watch]) -> list[Figure]:
    empty, full = ([w.seconds[kind] for w in watches] for kind in ("empty", "full"))
    ratio = [f / e for f, e in zip(full, empty, strict=True)]
    return [
        Figure(f"{name}, empty day", "s", empty),
        Figure(f"{name}, full day", "s", full),
        Figure(f"{name}, full / empty day", "ratio", ratio, at_most=TO_REACH),
    ]
