"""Days computed anew in Dagster runs of this process: one run a day, a failed day fails alone."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from k2_assets.days import DAYS
from k2_assets.definitions import definitions
from k2_assets.jobs import JOBS_OF, made_from_bronze
from k2_assets.tables import MODE_TAG, PARTITION_TAG, TICK, asset_key
from k2_cli.chain import QUIET
from k2_cli.home import environment, locked_home, prepare_dagster
from k2_cli.instance import make_ready
from k2_lake.catalog import LakeSettings
from k2_lake.read_sql import existing_lake
from k2_market.errors import CommitConflict, HomeInUse, UnknownName, UsageError
from k2_market.kinds import Kind
from k2_market.rules import EARLIEST_DAY
from k2_sensors.touched_days import pending

# Which backfill a run belongs to, and what that was asked to do.
BACKFILL_TAG, ASKED_TAG = "k2/backfill", "k2/backfill_of"
# A run of the platform that writes the same table at the same moment wins; the day is done again.
ATTEMPTS = 3

Shown = Callable[[str, int], None]


@dataclass
class DayResult:
    """What became of a day: its figures by name, and why it failed, if it did.

    ``followed`` marks a run that brought what was touched to gold and candles.
    """

    day: date
    seconds: float = 0.0
    figures: Counter[str] = field(default_factory=Counter)
    failure: str | None = None
    followed: bool = False


def day_range(first: date, last: date) -> list[date]:
    """The days from the first to the last, both included. Raises UsageError."""
    today = datetime.now(UTC).date()
    if first > last:
        raise UsageError(f"--from {first} is after --to {last}.")
    if first < EARLIEST_DAY or last > today:
        raise UsageError(f"days go from {EARLIEST_DAY} to today, {today} (UTC).")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def backfill_home(
    home: Path, days: Sequence[date], tables: Sequence[str], *, resume: bool, shown: Shown
) -> list[DayResult]:
    """Compute these tables, or all that is made from bronze, anew for these days, oldest first.

    ``shown`` is told what is being done and how many days are done. Raises UnknownName for a table
    that has no days, and UsageError where there is no lake.
    """
    existing_lake(LakeSettings.from_environment(os.environ, home))
    with _instance(home) as (where, instance, alone):
        defs = definitions(str(where))
        chosen = _chosen(defs, tables)
        asked = f"{days[0]}...{days[-1]} {' '.join(sorted(tables)) or 'all'}"[:200]
        tags = {BACKFILL_TAG: uuid.uuid4().hex[:8], ASKED_TAG: asked}
        done = _done(instance, asked) if resume else {}
        if done:
            tags[BACKFILL_TAG] = next(iter(done.values()))
        left = [day for day in days if day.isoformat() not in done]
        job = defs.resolve_implicit_global_asset_job_def()
        results = []
        for number, day in enumerate(left):
            shown(f"{day}: {len(chosen)} tables", len(days) - len(left) + number)
            results.append(_run(instance, job, day, tags, chosen))
        if alone:
            failed = {result.day for result in results if result.failure}
            results += _followed(defs, instance, where, tags, failed, shown)
    return results


@contextmanager
def _instance(home: Path) -> Iterator[tuple[Path, dg.DagsterInstance, bool]]:
    """The home's history of runs, and whether nobody else works there."""
    with ExitStack() as stack:
        try:
            where = stack.enter_context(locked_home(home))
            alone = True
        except HomeInUse:
            where, alone = home.absolute(), False
        if alone or not (where / "dagster").exists():
            prepare_dagster(where)
        os.environ.update(environment(where))
        instance = stack.enter_context(dg.DagsterInstance.get())
        if alone:
            make_ready(instance)
        yield where, instance, alone


def _chosen(defs: dg.Definitions, tables: Sequence[str]) -> list[dg.AssetKey]:
    specs = defs.resolve_all_asset_specs()
    by_day = {".".join(spec.key.path) for spec in specs if spec.partitions_def == DAYS}
    for table in tables:
        if table not in by_day:
            raise UnknownName("table with days", table, sorted(by_day))
    return [asset_key(table) for table in (tables or made_from_bronze())]


def _done(instance: dg.DagsterInstance, asked: str) -> dict[str, str]:
    """The days that the last backfill that was asked to do this has done, each with its id."""
    of_asked = dg.RunsFilter(tags={ASKED_TAG: asked})
    newest = instance.get_runs(of_asked, limit=1)
    if not newest:
        return {}
    tags = {ASKED_TAG: asked, BACKFILL_TAG: newest[0].tags[BACKFILL_TAG]}
    runs = instance.get_runs(dg.RunsFilter(tags=tags, statuses=[dg.DagsterRunStatus.SUCCESS]))
    return {run.tags[PARTITION_TAG]: tags[BACKFILL_TAG] for run in runs}


def _followed(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    home: Path,
    tags: dict[str, str],
    failed: Collection[date],
    shown: Shown,
) -> list[DayResult]:
    """The days that were touched and gold or candles lack; in a running platform sensors see."""
    lake = existing_lake(LakeSettings.from_environment(os.environ, home))
    results = []
    for kind in Kind:
        touched = (d for d in pending(lake, kind) if d <= datetime.now(UTC).date())
        for day in sorted(set(touched) - set(failed)):
            shown(f"{day}: what was touched follows", -1)
            job = defs.resolve_job_def(JOBS_OF[kind].day)
            ticking = {BACKFILL_TAG: tags[BACKFILL_TAG], MODE_TAG: TICK}
            result = _run(instance, job, day, ticking, None)
            result.followed = True
            results.append(result)
    return results


def _run(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    day: date,
    tags: dict[str, str],
    chosen: Sequence[dg.AssetKey] | None,
) -> DayResult:
    """One run of a day, done again where another run's commit came first."""
    told = DayResult(day)
    started = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        result = job.execute_in_process(
            instance=instance,
            asset_selection=chosen,
            partition_key=day.isoformat(),
            tags=tags,
            run_config=QUIET,
            raise_on_error=False,
        )
        if result.success or not _lost_a_race(result) or attempt == ATTEMPTS:
            break
    told.seconds = time.monotonic() - started
    told.figures = _figures(result)
    told.failure = None if result.success else _failure(result)
    return told


def _figures(result: dg.ExecuteInProcessResult) -> Counter[str]:
    """The run's figures, summed over the tables of a layer: ``silver rejected``, ``gold rows``."""
    found: Counter[str] = Counter()
    for event in result.get_asset_materialization_events():
        layer, table = event.materialization.asset_key.path
        found["tables"] += 1
        for name, value in event.materialization.metadata.items():
            if isinstance(value, dg.IntMetadataValue) and value.value is not None:
                found[f"{'candles' if 'ohlcv' in table else layer} {name}"] += value.value
    for evaluation in result.get_asset_check_evaluations():
        found["checks passed" if evaluation.passed else "checks failed"] += 1
    return found


def _lost_a_race(result: dg.ExecuteInProcessResult) -> bool:
    return any(error.cls_name == CommitConflict.__name__ for error in _errors(result))


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """What failed, for people: the steps' own messages, or the checks that blocked."""
    for error in _errors(result):
        return str(error.message).strip().split(": ", 1)[-1]
    failed = [
        f"{'.'.join(e.asset_key.path)} {e.check_name}"
        for e in result.get_asset_check_evaluations()
        if not e.passed and e.severity is dg.AssetCheckSeverity.ERROR
    ]
    return f"checks failed: {', '.join(failed)}" if failed else f"see run {result.run_id}"


def _errors(result: dg.ExecuteInProcessResult) -> list[Any]:
    """What every step that failed had raised: the cause that Dagster's own error names."""
    errors = [event.step_failure_data.error for event in result.get_step_failure_events()]
    return [error.cause or error for error in errors if error is not None]
