"""The run history as the decisions see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from k2_assets.tables import BACKLOG_TAG, PARTITION_TAG
from k2_sensors.decide import Attempt

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]

# The longest wait between attempts is reached after four.
REMEMBERED = 10


def recent_attempts(
    instance: dg.DagsterInstance, job_name: str, day: str | None = None
) -> list[Attempt]:
    """The latest runs of the job that have ended, oldest first: all, or those of one day."""
    tags: Mapping[str, str] = {} if day is None else {PARTITION_TAG: day}
    records = instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=ENDED, tags=tags), limit=REMEMBERED
    )
    return [
        Attempt(
            backlog=r.dagster_run.tags.get(BACKLOG_TAG),
            succeeded=r.dagster_run.status is dg.DagsterRunStatus.SUCCESS,
            # A run that could not even be launched has no end of its own.
            ended_at=r.update_timestamp.replace(tzinfo=UTC)
            if r.end_time is None
            else datetime.fromtimestamp(r.end_time, UTC),
        )
        for r in reversed(records)
    ]


def attempts_made(instance: dg.DagsterInstance, backlog: str) -> int:
    """How many runs there have been for this backlog."""
    return instance.get_runs_count(dg.RunsFilter(tags={BACKLOG_TAG: backlog}))


def active_days(instance: dg.DagsterInstance, job_name: str) -> set[str]:
    """The partitions for which a run of the job is queued or under way."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=ACTIVE))
    return {run.tags.get(PARTITION_TAG, "") for run in runs}
