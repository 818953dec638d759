"""Days computed anew in Dagster runs of this process, a failed day fails alone.

With DuckDB each day is a run. With Spark days that follow one another are one run, layer by layer;
what such a run could not bring to its end is done again day by day.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from k2_assets.days import DAYS, backfill_policy
from k2_assets.definitions import definitions
from k2_assets.jobs import JOBS_OF, made_from_bronze
from k2_assets.ranges import days_of
from k2_assets.tables import MODE_TAG, TICK, asset_key
from k2_cli.backfill_runs import DayResult, Runs
from k2_cli.home import environment, locked_home, prepare_dagster
from k2_cli.instance import make_ready
from k2_lake.catalog import LakeSettings
from k2_lake.read_sql import existing_lake
from k2_market.errors import HomeInUse, UnknownName, UsageError
from k2_market.kinds import Kind
from k2_market.rules import EARLIEST_DAY
from k2_sensors.touched_days import pending

# Which backfill a run belongs to, and what that was asked to do.
BACKFILL_TAG, ASKED_TAG = "k2/backfill", "k2/backfill_of"
Shown = Callable[[str, int], None]


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
        runs = Runs(instance, job, tags, chosen)
        results: list[DayResult] = []
        for group in run_groups(left):
            named = f"{group[0]}" if len(group) == 1 else f"{group[0]} to {group[-1]}"
            shown(f"{named}: {len(chosen)} tables", len(days) - len(left) + len(results))
            several = len(group) > 1
            results += runs.of_range(group) if several else [runs.of_day(group[0])]
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
    return {day.isoformat(): tags[BACKFILL_TAG] for run in runs for day in days_of(run.tags)}


def run_groups(days: Sequence[date]) -> list[list[date]]:
    """The days that one run shall do."""
    if backfill_policy(os.environ) is None:
        return [[day] for day in days]
    groups: list[list[date]] = []
    for day in days:
        if not groups or day - groups[-1][-1] > timedelta(days=1):
            groups.append([])
        groups[-1].append(day)
    return groups


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
            result = Runs(instance, job, ticking).of_day(day)
            result.followed = True
            results.append(result)
    return results
