"""The process that is killed: real Dagster runs over the real lake, watched at the seams."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from multiprocessing.connection import Connection

import dagster as dg

from benchmarks.chaos.market import EXCHANGE
from benchmarks.chaos.seams import Place, Watch, put
from k2_assets.definitions import definitions
from k2_assets.jobs import JOBS_OF
from k2_assets.tables import MODE_TAG, TICK, asset_key
from k2_cli.instance import make_ready
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import expire
from k2_lake.maintenance.garbage import sweep
from k2_lake.tables import (
    GAPS_TABLE,
    REJECTED_TABLE,
    TRADES_TABLE,
    bronze_name,
    candle_name,
    silver_name,
)
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from k2_sensors.touched_days import pending

DEFS = definitions()
JOBS = JOBS_OF[Kind.TRADES]
MADE = [TRADES_TABLE, *map(candle_name, TIMEFRAMES), GAPS_TABLE]
TABLES = [bronze_name(EXCHANGE, Kind.TRADES), silver_name(EXCHANGE, Kind.TRADES), REJECTED_TABLE]
# Snapshots of each table that an expiry keeps: so few that there are always some to forget.
KEPT = 3
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Work(StrEnum):
    """What the process was doing."""

    TICK = "tick"
    OVERWRITE = "overwrite"
    COMPACTION = "compaction"
    EXPIRY = "expiry"
    GARBAGE = "garbage"


_IN_A_RUN = (Place.BETWEEN_TABLES, Place.BEFORE_EVENT, Place.AFTER_EVENT)
_OF_DATA = [p for p in Place if p is not Place.BETWEEN_DELETIONS]
_OF_UPKEEP = [p for p in _OF_DATA if p not in _IN_A_RUN]
PLACES = {
    Work.TICK: _OF_DATA,
    Work.OVERWRITE: _OF_DATA,
    Work.COMPACTION: _OF_UPKEEP,
    Work.EXPIRY: _OF_UPKEEP,
    # What it commits is its row on record alone.
    Work.GARBAGE: [Place.BETWEEN_DELETIONS, Place.BEFORE_WRITE, Place.COMMITTED, Place.ANYWHERE],
}
# Files change, rows do not: whoever reads must find the same before, after and in between.
MAINTENANCE = frozenset({Work.COMPACTION, Work.EXPIRY, Work.GARBAGE})


@dataclass(frozen=True)
class Order:
    """What a worker is to do, and where it is to be killed: at the n-th passing of a place."""

    work: Work
    day: date
    late_day: date
    kill: tuple[Place, int] | None = None


@dataclass
class Done:
    """What a worker that was not killed tells."""

    passings: Counter[Place] = field(default_factory=Counter)
    checks_passed: int = 0
    failures: list[str] = field(default_factory=list)
    checks_failed: list[str] = field(default_factory=list)


def serve(environment: Mapping[str, str], orders: Connection) -> None:
    """Carry out orders and tell of each what was done, until nobody gives any, or killed."""
    os.environ.update(environment)
    # Ctrl-C is for the harness: a worker ends when nobody gives orders any more.
    os.setsid()
    watch = Watch()
    put(watch)
    with dg.DagsterInstance.get() as instance:
        make_ready(instance)
        while True:
            try:
                order: Order = orders.recv()
            except EOFError:
                return
            watch.passings, watch.kill = Counter(), order.kill
            done = _carried_out(instance, order)
            done.passings = watch.passings
            orders.send(done)


def _carried_out(instance: dg.DagsterInstance, order: Order) -> Done:
    done = Done()
    if order.work is Work.OVERWRITE:
        _run(instance, JOBS.tick, order.day, TABLES + MADE, done, tags={})
        _run(instance, JOBS.day, order.late_day, MADE, done, tags={})
    elif order.work in MAINTENANCE:
        _maintain(order.work, order.day)
    else:
        _ordinary(instance, order.day, done)
    return done


def _maintain(kind: Work, today: date) -> None:
    """Every table of the chain, and earlier than the schedules would: there is always work."""
    lake = Lake(LakeSettings.from_environment(os.environ))
    engine = DuckDBEngine(io=lake.io)
    later = today + timedelta(days=2)
    for name in TABLES + MADE:
        if kind is Work.COMPACTION:
            list(compact(lake, engine, name, today=later, quiet=timedelta(0), worth_it=2))
        elif kind is Work.EXPIRY:
            expire(lake, name, keep=KEPT, young=timedelta(0))
        else:
            sweep(lake, name, grace=timedelta(0))


def _ordinary(instance: dg.DagsterInstance, day: date, done: Done) -> None:
    """What the sensors would start: a tick, then every other day that it touched."""
    _run(instance, JOBS.tick, day, TABLES + MADE, done, tags={MODE_TAG: TICK})
    lake = Lake(LakeSettings.from_environment(os.environ))
    for touched in sorted(pending(lake, Kind.TRADES)):
        _run(instance, JOBS.day, touched, MADE, done, tags={MODE_TAG: TICK})


def _run(
    instance: dg.DagsterInstance,
    job: str,
    day: date,
    tables: list[str],
    done: Done,
    tags: Mapping[str, str],
) -> None:
    result = DEFS.resolve_job_def(job).execute_in_process(
        instance=instance,
        asset_selection=[asset_key(t) for t in tables],
        partition_key=day.isoformat(),
        tags=dict(tags),
        run_config=QUIET,
        raise_on_error=False,
    )
    for e in result.get_asset_check_evaluations():
        failed = not e.passed and e.severity is dg.AssetCheckSeverity.ERROR
        done.checks_passed += e.passed
        if failed:
            done.checks_failed.append(
                f"{e.asset_key.to_user_string()} {e.check_name}: {e.metadata}"
            )
    for event in result.get_step_failure_events():
        done.failures.append(f"{event.step_key}: {event.step_failure_data.error}")
