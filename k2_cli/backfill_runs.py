"""The runs of a backfill: one for a day, or one for a range, and what became of each day."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import dagster as dg

from k2_assets.checks import check_step
from k2_assets.ranges import range_tags
from k2_cli.chain import QUIET
from k2_market.errors import CommitConflict

# A run of the platform that writes the same table at the same moment wins; the day is done again.
ATTEMPTS = 3


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


@dataclass(frozen=True)
class Runs:
    """What every run of a backfill has in common; ``tables`` None means all of the job's."""

    instance: dg.DagsterInstance
    job: dg.JobDefinition
    tags: Mapping[str, str]
    tables: Sequence[dg.AssetKey] | None = None

    def of_day(self, day: date) -> DayResult:
        """One run of a day, done again where another run's commit came first."""
        started = time.monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            result = self._executed(self.tags, day.isoformat())
            if result.success or not _lost_a_race(result) or attempt == ATTEMPTS:
                break
        return DayResult(
            day,
            seconds=time.monotonic() - started,
            figures=_figures(result, day),
            failure=None if result.success else _failure(result),
        )

    def of_range(self, days: Sequence[date]) -> list[DayResult]:
        """One run of days that follow one another; each tells its share of the seconds.

        A table of which a day fails stops all that is made of it. So what such a run did not bring
        to its end for all days is done again day by day, and a failed day fails alone.
        """
        started = time.monotonic()
        result = self._executed({**self.tags, **range_tags(days)}, None)
        share = (time.monotonic() - started) / len(days)
        finished = _finished(result)
        told = [DayResult(d, share, _figures(result, d, finished)) for d in days]
        if result.success:
            return told
        left = [table for table in self.tables or () if table not in finished]
        again = replace(self, tables=left or self.tables)
        return [_together(one, again.of_day(one.day)) for one in told]

    def _executed(self, tags: Mapping[str, str], day: str | None) -> dg.ExecuteInProcessResult:
        return self.job.execute_in_process(
            instance=self.instance,
            asset_selection=self.tables,
            partition_key=day,
            tags=dict(tags),
            run_config=QUIET,
            raise_on_error=False,
        )


def _together(one: DayResult, other: DayResult) -> DayResult:
    return replace(other, seconds=one.seconds + other.seconds, figures=one.figures + other.figures)


def _finished(result: dg.ExecuteInProcessResult) -> set[dg.AssetKey]:
    """The tables that the run computed and checked for all of its days."""
    failed = {event.step_key for event in result.get_step_failure_events()}
    computed = {
        event.materialization.asset_key
        for event in result.get_asset_materialization_events()
        if event.step_key not in failed
    }
    return {table for table in computed if check_step(".".join(table.path)) not in failed}


def _figures(
    result: dg.ExecuteInProcessResult, day: date, tables: set[dg.AssetKey] | None = None
) -> Counter[str]:
    """The run's figures of a day, summed over the tables of a layer: ``silver rejected``."""
    found: Counter[str] = Counter()
    for event in result.get_asset_materialization_events():
        told = event.materialization
        if told.partition != day.isoformat() or not (tables is None or told.asset_key in tables):
            continue
        layer, table = told.asset_key.path
        found["tables"] += 1
        for name, value in told.metadata.items():
            if isinstance(value, dg.IntMetadataValue) and value.value is not None:
                found[f"{'candles' if 'ohlcv' in table else layer} {name}"] += value.value
    for evaluation in result.get_asset_check_evaluations():
        if evaluation.partition not in {None, day.isoformat()}:
            continue
        if tables is None or evaluation.asset_key in tables:
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
