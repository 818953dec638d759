"""Dagster's instance of a home that nobody else works in, made ready for runs."""

from __future__ import annotations

import dagster as dg

from k2_lake.tables import TABLES

# States of a run whose process must have been alive: without the platform, none of them is.
UNDER_WAY = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def make_ready(instance: dg.DagsterInstance) -> int:
    """Limit every pool, and end runs that were cut off when the platform was last stopped.

    The home's lock must be held, or no code server be running. What such a run had not committed,
    the next one does. Returns how many there were.
    """
    set_pool_limits(instance)
    cut_off = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
    for run in cut_off:
        instance.report_run_failed(run, "The platform was stopped while this run was under way.")
    return len(cut_off)


def set_pool_limits(instance: dg.DagsterInstance) -> None:
    """One run at a time for each table: the default limit lets a pool's first runs overlap."""
    for table in TABLES:
        instance.event_log_storage.set_concurrency_slots(table, 1)
