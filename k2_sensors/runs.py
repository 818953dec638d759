"""The run history as the decisions see it."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from k2_sensors.decide import Attempt

BACKLOG_TAG = "k2/backlog"

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def attempts(instance: dg.DagsterInstance, backlog: str) -> list[Attempt]:
    """The runs that were started for this backlog, oldest first."""
    records = instance.get_run_records(dg.RunsFilter(tags={BACKLOG_TAG: backlog}), ascending=True)
    return [
        Attempt(
            active=r.dagster_run.status in ACTIVE,
            succeeded=r.dagster_run.status is dg.DagsterRunStatus.SUCCESS,
            ended_at=None if r.end_time is None else datetime.fromtimestamp(r.end_time, UTC),
        )
        for r in records
    ]


def active_days(instance: dg.DagsterInstance, job_name: str) -> set[str]:
    """The partitions for which a run of the job is queued or under way."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=ACTIVE))
    return {run.tags.get("dagster/partition", "") for run in runs}
