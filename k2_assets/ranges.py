"""Runs of several days: with Spark a backfill is one run, and each day is told by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TypeVar

import dagster as dg

from k2_assets.days import day_of
from k2_assets.tables import PARTITION_TAG, Result
from k2_market.errors import K2Error

FIRST_TAG = "dagster/asset_partition_range_start"
LAST_TAG = "dagster/asset_partition_range_end"
MAX_RUNTIME_TAG = "dagster/max_runtime"
# What dagster.yaml gives every run, which mostly is one of a day.
LONGEST_S = 1_800

T = TypeVar("T")
Results = Iterator[Result | dg.AssetMaterialization]


def days_of(tags: Mapping[str, str]) -> list[date]:
    """The days of a run, by its tags: one, all of a range, or none where it has no days."""
    named = tags.get(PARTITION_TAG)
    first, last = tags.get(FIRST_TAG, named), tags.get(LAST_TAG, named)
    if first is None or last is None:
        return []
    start = day_of(first)
    return [start + timedelta(days=n) for n in range((day_of(last) - start).days + 1)]


def range_tags(days: Sequence[date]) -> dict[str, str]:
    """The tags of one run of these days, which follow one another."""
    return {FIRST_TAG: days[0].isoformat(), LAST_TAG: days[-1].isoformat()}


def each_day(context: dg.AssetExecutionContext, step: Callable[[date], Result]) -> Results:
    """Do ``step`` for every day of the run; its figures become those of the day.

    In a range a day that fails does not keep the others from being done. Raises dg.Failure at the
    end, which names the days that failed and why; the others are materialized all the same.
    """
    days = days_of(context.run.tags)
    if len(days) == 1:
        yield step(days[0])
        return
    # Else Dagster would end the run of a month after half an hour.
    longest = {MAX_RUNTIME_TAG: str(LONGEST_S * len(days))}
    context.instance.add_run_tags(context.run.run_id, longest)
    done, failed = tried(days, step)
    for day, result in done.items():
        if failed:
            yield dg.AssetMaterialization(
                context.asset_key, partition=day.isoformat(), metadata=result.metadata
            )
        else:
            context.add_asset_metadata(result.metadata or {}, partition_key=day.isoformat())
    if failed:
        raise failure(failed, len(days))
    yield dg.MaterializeResult(asset_key=context.asset_key)


def tried(
    days: Iterable[date], step: Callable[[date], T]
) -> tuple[dict[date, T], dict[date, K2Error]]:
    """What became of each day: what ``step`` gave, or the error of ours that it raised."""
    done: dict[date, T] = {}
    failed: dict[date, K2Error] = {}
    for day in days:
        try:
            done[day] = step(day)
        except K2Error as error:
            failed[day] = error
    return done, failed


def failure(failed: Mapping[date, K2Error], days: int) -> dg.Failure:
    """The failure of a step of which some days failed, with the reason of each."""
    reasons = {day.isoformat(): str(error) for day, error in failed.items()}
    first = next(iter(reasons))
    return dg.Failure(
        f"{len(failed)} of {days} days failed, first {first}: {reasons[first]}",
        metadata=dict(reasons),
    )
