"""Dagster's own history: old runs are deleted, and no partition loses what its page shows.

A run carries the events by which a partition counts as materialized, as failed, or as checked. So a
run stays, however old, while it holds the newest event of a kind for any partition of any asset, or
the newest verdict of a check on it. All others go when they are old enough: their events, the
database file that SQLite keeps for each, what they printed, and their rows among the checks'
executions, which Dagster itself never deletes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from k2_assets.tables import BACKLOG_TAG

KEEP_DAYS = 7
KEEP_FAILED_DAYS = 30
_AT_ONCE = 500
_ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
_SHOWN_BY_PARTITION = [
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
]
_EVENTS = sa.table(
    "event_logs", *map(sa.column, ("id", "run_id", "dagster_event_type", "asset_key", "partition"))
)
_CHECKS = sa.table(
    "asset_check_executions",
    *map(
        sa.column,
        ("id", "run_id", "asset_key", "check_name", "partition", "evaluation_event_storage_id"),
    ),
)


@dataclass(frozen=True)
class Pruned:
    """Runs that were there and had ended; those of them that are old; those that go, or went."""

    ended: int
    old: int
    deleted: int


def prune(
    instance: dg.DagsterInstance,
    now: datetime,
    *,
    keep_days: int = KEEP_DAYS,
    keep_failed_days: int = KEEP_FAILED_DAYS,
    dry_run: bool = False,
) -> Iterator[Pruned]:
    """Delete runs that ended more than so many days ago and that no page needs.

    Tells how far it is after some hundred runs at a time, and at the end. May be stopped anywhere.
    """
    ended = instance.get_runs_count(dg.RunsFilter(statuses=_ENDED))
    old = _old_runs(instance, now, keep_days, keep_failed_days)
    ids = [] if not old else _deletable(instance, old)
    if dry_run:
        yield Pruned(ended, len(old), len(ids))
        return
    deleted = 0
    yield Pruned(ended, len(old), deleted)
    for start in range(0, len(ids), _AT_ONCE):
        batch = ids[start : start + _AT_ONCE]
        _delete(instance, batch)
        deleted += len(batch)
        yield Pruned(ended, len(old), deleted)


def _old_runs(
    instance: dg.DagsterInstance, now: datetime, keep_days: int, keep_failed_days: int
) -> dict[str, str]:
    """Ids of the runs that are old, each with the backlog that it was for, "" where for none."""
    limits = {
        dg.DagsterRunStatus.SUCCESS: now - timedelta(days=keep_days),
        dg.DagsterRunStatus.CANCELED: now - timedelta(days=keep_days),
        dg.DagsterRunStatus.FAILURE: now - timedelta(days=keep_failed_days),
    }
    found: dict[str, str] = {}
    for status, before in limits.items():
        wanted = dg.RunsFilter(statuses=[status], updated_before=before)
        cursor = None
        while records := instance.get_run_records(wanted, limit=_AT_ONCE, cursor=cursor):
            runs = [record.dagster_run for record in records]
            found |= {run.run_id: run.tags.get(BACKLOG_TAG, "") for run in runs}
            cursor = runs[-1].run_id
    return found


def _deletable(instance: dg.DagsterInstance, old: dict[str, str]) -> list[str]:
    shown = _shown(instance)
    free = {run: backlog for run, backlog in old.items() if run not in shown}
    # Sensors number the attempts at a backlog by counting its runs: they go together or not at all.
    attempts = Counter(free.values())
    complete = {
        backlog
        for backlog, count in attempts.items()
        if not backlog
        or instance.get_runs_count(dg.RunsFilter(tags={BACKLOG_TAG: backlog})) == count
    }
    return [run for run, backlog in free.items() if backlog in complete]


def _shown(instance: dg.DagsterInstance) -> set[str]:
    """The runs of all that a partition's page shows: its newest events, its checks' verdicts."""
    newest = [
        _newest(
            _EVENTS,
            (_EVENTS.c.dagster_event_type, _EVENTS.c.asset_key, _EVENTS.c.partition),
            _EVENTS.c.dagster_event_type.in_([t.value for t in _SHOWN_BY_PARTITION]),
        ),
        # The newest verdict, and the newest execution, which may have none yet.
        _newest(_CHECKS, _OF_CHECK, _CHECKS.c.evaluation_event_storage_id.is_not(None)),
        _newest(_CHECKS, _OF_CHECK, sa.true()),
    ]
    with _storage(instance).index_connection() as connection:
        return {run_id for query in newest for (run_id,) in connection.execute(query)}


_OF_CHECK = (_CHECKS.c.asset_key, _CHECKS.c.check_name, _CHECKS.c.partition)


def _newest(
    rows: sa.TableClause, by: tuple[sa.ColumnClause[Any], ...], where: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    ids = sa.select(sa.func.max(rows.c.id)).where(where).group_by(*by)
    return sa.select(rows.c.run_id).distinct().where(rows.c.id.in_(ids))


def _delete(instance: dg.DagsterInstance, run_ids: list[str]) -> None:
    storage = _storage(instance)
    for run_id in run_ids:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        # SQLite keeps the events of each run in a file of its own, which is empty now.
        if hasattr(storage, "path_for_shard"):
            with suppress(FileNotFoundError):
                Path(storage.path_for_shard(run_id)).unlink()
    with storage.index_connection() as connection:
        connection.execute(sa.delete(_CHECKS).where(_CHECKS.c.run_id.in_(run_ids)))


def _storage(instance: dg.DagsterInstance) -> Any:
    """The event log's storage: SQL in SQLite or PostgreSQL, which is all that K2 is run with."""
    return instance.event_log_storage
