"""The process that is killed: real Dagster runs over the real lake, watched at the seams.

The harness puts a watch around what the product calls, in this process alone, and the watch kills
it at the n-th passing of a place. The product knows nothing of it.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from functools import wraps
from multiprocessing.connection import Connection
from typing import Any

import dagster as dg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import ParquetFormatWriter
from pyiceberg.table import Transaction
from sqlalchemy.orm import Session

import k2_lake.commit
import k2_lake.maintenance.garbage
import k2_lake.silver
from benchmarks.chaos.market import EXCHANGE
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
    name_of,
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


class Place(StrEnum):
    """Where a process is killed."""

    BEFORE_WRITE = "before the write"
    IN_A_FILE = "within a data file"
    FILES_WRITTEN = "between files and commit"
    MANIFESTS_WRITTEN = "in the commit: manifests written"
    METADATA_WRITTEN = "in the commit: metadata written, row not swapped"
    ROW_SWAPPED = "in the commit: row swapped, not yet committed"
    COMMITTED = "after the commit"
    BETWEEN_TABLES = "between the two tables of a step"
    BEFORE_EVENT = "after the commit, before Dagster's event"
    AFTER_EVENT = "after Dagster's event, before the run's end"
    BETWEEN_DELETIONS = "between two deletions"
    ANYWHERE = "at any moment"


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


@dataclass
class Watch:
    """Counts the passings of every place, and kills at the one that it was told."""

    passings: Counter[Place] = field(default_factory=Counter)
    kill: tuple[Place, int] | None = None

    def __call__(self, place: Place) -> None:
        """The process is at that place now."""
        self.passings[place] += 1
        if (place, self.passings[place]) == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)


def serve(environment: Mapping[str, str], orders: Connection) -> None:
    """Carry out orders and tell of each what was done, until nobody gives any, or killed."""
    os.environ.update(environment)
    os.setsid()
    watch = Watch()
    _put(watch)
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


def _put(watch: Watch) -> None:
    """Have the watch told of every place."""
    _around(k2_lake.commit, "_dataframe_to_data_files", _writing(watch))
    _around(ParquetFormatWriter, "write", _after(watch, Place.IN_A_FILE))
    _around(Transaction, "commit_transaction", _before(watch, Place.MANIFESTS_WRITTEN))
    _around(SqlCatalog, "commit_table", _after(watch, Place.COMMITTED))
    metadata_written = _after(watch, Place.METADATA_WRITTEN)
    SqlCatalog._write_metadata = staticmethod(metadata_written(SqlCatalog._write_metadata))
    _around(Session, "commit", _swapped(watch))
    _around(dg.DagsterInstance, "handle_new_event", _event(watch))
    _around(k2_lake.silver, "commit", _noted(watch))
    _around(k2_lake.maintenance.garbage, "_delete", _deleting(watch))


Around = Callable[[Callable[..., Any]], Callable[..., Any]]


def _around(owner: Any, name: str, around: Around) -> None:
    setattr(owner, name, around(getattr(owner, name)))


def _before(watch: Watch, place: Place) -> Around:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            watch(place)
            return original(*args, **kwargs)

        return watched

    return around


def _after(watch: Watch, place: Place) -> Around:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            watch(place)
            return result

        return watched

    return around


def _writing(watch: Watch) -> Around:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            watch(Place.BEFORE_WRITE)
            written = list(original(*args, **kwargs))
            watch(Place.FILES_WRITTEN)
            return written

        return watched

    return around


def _swapped(watch: Watch) -> Around:
    """The catalog's session: what it changed is in the database, within a transaction."""

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(session: Session) -> None:
            session.flush()
            watch(Place.ROW_SWAPPED)
            original(session)

        return watched

    return around


def _event(watch: Watch) -> Around:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(instance: dg.DagsterInstance, event: Any, **kwargs: Any) -> None:
            told = event.dagster_event is not None and event.dagster_event.is_step_materialization
            if told:
                watch(Place.BEFORE_EVENT)
            original(instance, event, **kwargs)
            if told:
                watch(Place.AFTER_EVENT)

        return watched

    return around


def _noted(watch: Watch) -> Around:
    """A step of silver writes its rejected rows first."""

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(table: Any, **kwargs: Any) -> Any:
            snapshot = original(table, **kwargs)
            if name_of(table) == REJECTED_TABLE:
                watch(Place.BETWEEN_TABLES)
            return snapshot

        return watched

    return around


def _deleting(watch: Watch) -> Around:
    """One file after the other."""

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(store: Any, files: Any) -> int:
            freed = 0
            for file in files:
                freed += original(store, (file,))
                watch(Place.BETWEEN_DELETIONS)
            return freed

        return watched

    return around
