"""Retention: days older than a table's limit are dropped, whole files of them in one commit.

What is dropped is what no consumer waits for any more: a day whose rows some table has yet to
follow stays, and all younger ones with it. The files themselves lie there until no snapshot reaches
them; expiry and gc see to that. That no other table loses by it what it has is for
``k2_lake/retained.py`` to keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from pyiceberg.expressions import LessThan
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.history import Mode, changes_since
from k2_lake.maintenance.ledger import Begun, figures_of, figures_with, record
from k2_lake.maintenance.policy import RETAINABLE, Policy
from k2_lake.maintenance.waiting import followers
from k2_lake.read_sql import existing_table
from k2_lake.retained import retained
from k2_lake.scan import Files, appended, day_of_file, planned
from k2_lake.tables import name_of, table_def
from k2_market.errors import UsageError
from k2_market.maintenance import Action


@dataclass(frozen=True)
class Aged:
    """What of a table is older than its limit, and is dropped, or would be.

    ``keep_days`` is the limit, None for forever, and ``first_kept`` the oldest day that stays.
    ``waits_for`` names the table because of which older days stay than the limit says.
    """

    table: str
    keep_days: int | None
    first_kept: date | None
    days: tuple[date, ...] = ()
    rows: int = 0
    files: int = 0
    bytes: int = 0
    waits_for: str = ""


def named(tables: list[str]) -> list[str]:
    """These tables, all that have days where none is named. Raises UnknownName, UsageError."""
    for name in tables:
        if not table_def(name).record.day:
            raise UsageError(f"{name} has no days that could grow old: nothing of it is dropped.")
    return tables or list(RETAINABLE)


def survey(lake: Lake, policy: Policy, today: date, tables: list[str]) -> Iterator[Aged]:
    """What of each of these tables is older than its limit; tables never written are left out."""
    for name in tables:
        table = existing_table(lake, name)
        if table is not None and table.current_snapshot() is not None:
            yield _aged(lake, table, policy, today)[0]


def retain(
    lake: Lake, policy: Policy, today: date, tables: list[str], *, dry_run: bool = False
) -> Iterator[Aged]:
    """Drop what is older than the limits, table by table; a dry run only tells, on record too."""
    for aged in survey(lake, policy, today, tables):
        yield _drop(lake, aged.table, policy, today, dry_run=dry_run) if aged.days else aged


@retry_conflicts
def _drop(lake: Lake, name: str, policy: Policy, today: date, *, dry_run: bool) -> Aged:
    table = lake.table(name)
    aged, old = _aged(lake, table, policy, today)
    if not old.files or aged.first_kept is None:
        return aged
    begun = Begun(name, Action.RETAIN, figures_of(table), dry_run=dry_run)
    if dry_run:
        after = figures_with(table, _without(planned(table, old.schema), old).files)
    else:
        commit(
            table,
            remove=old.files,
            mode=Mode.RETENTION,
            days=aged.days,
            figures={"days": len(aged.days), "rows": aged.rows, "files": aged.files},
            extra=retained(table).moved(aged.first_kept).to_extra(),
        )
        after = figures_of(table)
    record(lake, [begun.done(after)])
    return aged


def _without(all_files: Files, dropped: Files) -> Files:
    paths = set(dropped.paths)
    return all_files.only(f for f in all_files.files if f.file_path not in paths)


def _aged(lake: Lake, table: Table, policy: Policy, today: date) -> tuple[Aged, Files]:
    """What is older than the limit, and its files."""
    name = name_of(table)
    definition = table_def(name)
    keep, limit = policy.days(name), policy.first_kept(name, today)
    if limit is None:
        return Aged(name, keep, retained(table).start), Files(definition.schema, ())
    consumer, first = _first_awaited(lake, table)
    start = limit if first is None else min(limit, first)
    old = planned(table, definition.schema, LessThan(definition.record.day, start))
    aged = Aged(
        table=name,
        keep_days=keep,
        first_kept=start,
        days=tuple(sorted({day_of_file(file) for file in old.files})),
        rows=old.rows,
        files=len(old.files),
        bytes=sum(file.file_size_in_bytes for file in old.files),
        waits_for=consumer if start < limit else "",
    )
    return aged, old


def _first_awaited(lake: Lake, table: Table) -> tuple[str, date | None]:
    """The oldest day with rows that some consumer has yet to follow, and which; None if none."""
    schema, found = table_def(name_of(table)).schema, []
    for consumer, done in followers(lake, name_of(table)).items():
        pending = done.pending(changes_since(table, done.through)).values()
        snapshots = {c.sequence: c.snapshot for changes in pending for c in changes}
        files = appended(table, snapshots.values(), schema).files
        found += [(day_of_file(file), consumer) for file in files]
    day, consumer = min(found, default=(None, ""))
    return consumer, day
