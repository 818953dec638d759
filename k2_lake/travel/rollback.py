"""Back to an older snapshot of a table: a new commit that holds its rows and its progress again.

Nothing is rewound in place: the history goes on, and a rollback can itself be rolled back. The
commit is a recompute of the days that differ, so that every table made from this one computes them
anew. With its progress the table goes back as well to what it had consumed, and so takes up again
whatever its sources committed since: a rollback undoes what happened to a table, not the world.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot, ancestors_of

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine
from k2_lake.history import (
    KAFKA,
    ROLLED_BACK_TO,
    SEEN,
    SOURCES,
    Consumed,
    Mode,
    changes_since,
    consumed,
    lineage,
    summary_value,
)
from k2_lake.read_sql import existing_table
from k2_lake.retained import retained
from k2_lake.scan import Files, day_of_file
from k2_lake.tables import MAINTENANCE_TABLE, REJECTED_TABLE, consumers_of, name_of, table_def
from k2_lake.travel.as_of import AsOf, committed_at, resolve_as_of
from k2_lake.travel.diff import DayDiff, compare, sides
from k2_lake.travel.snapshots import written_table
from k2_market.errors import InvariantBroken, UsageError
from k2_market.kinds import Kind

_NEVER = {
    REJECTED_TABLE: "its rows come with those of the silver tables: roll back the one of the "
    "exchange, or materialize its day anew",
    MAINTENANCE_TABLE: "it is the record of what was done",
}


@dataclass(frozen=True)
class Reread:
    """The frames of bronze that Kafka must give again: [start, end) of each partition."""

    topic: str
    cluster_id: str
    topic_id: str
    start: Mapping[int, int]
    end: Mapping[int, int]

    @property
    def frames(self) -> int:
        """How many."""
        return sum(end - self.start.get(p, 0) for p, end in self.end.items())


@dataclass(frozen=True)
class Rollback:
    """What going back to ``to`` means, before or after it is done.

    ``days`` tells the rows that come back (added), go (removed) and change; days of trading where
    the table is silver. ``awaits`` counts, by source, the commits that the table takes up again,
    ``followed_by`` names the tables that compute the days anew. ``reread`` is set for bronze.
    ``rewinds`` tells whether the progress of then is another than that of now.
    """

    table: str
    head: Snapshot
    to: Snapshot
    days: tuple[DayDiff, ...]
    awaits: Mapping[str, int]
    followed_by: tuple[str, ...]
    rewinds: bool
    reread: Reread | None = None

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.days) or self.rewinds


def plan_rollback(lake: Lake, engine: Engine, name: str, to: AsOf) -> Rollback:
    """What a rollback of that table would do; nothing is changed.

    Raises UnknownName and UsageError for a state that is not kept, or from which the table could
    not go on: where snapshots of its sources, or frames of an earlier epoch, are gone.
    """
    table = _table(lake, name)
    return _planned(lake, engine, table, _target(table, to))[0]


@retry_conflicts
def roll_back(
    lake: Lake, engine: Engine, name: str, to: AsOf, allowed: Callable[[Rollback], None]
) -> Rollback:
    """Go back to that state in one commit, or in none where neither rows nor progress differ.

    ``allowed`` is asked first and raises if Kafka can no longer give what bronze would need.
    Raises as ``plan_rollback`` does.
    """
    table = _table(lake, name)
    plan, old, new = _planned(lake, engine, table, _target(table, to))
    allowed(plan)
    if plan.changes:
        _commit(table, plan, old, new)
    return plan


def _table(lake: Lake, name: str) -> Table:
    written_table(lake, name)
    if name in _NEVER:
        raise UsageError(f"{name} is not rolled back: {_NEVER[name]}.")
    return lake.table(name)


def _target(table: Table, to: AsOf) -> Snapshot:
    found = resolve_as_of(table, to)
    if found is None:
        first = lineage(table)[-1]
        raise UsageError(
            f"{name_of(table)} had no rows as of {to.text}: its first commit is of "
            f"{committed_at(first):%Y-%m-%d %H:%M:%S} UTC. `k2 lake snapshots {name_of(table)}` "
            "lists the states that one can go back to."
        )
    return found


def _planned(
    lake: Lake, engine: Engine, table: Table, to: Snapshot
) -> tuple[Rollback, Files, Files]:
    """The plan, and the files to take out and to put back."""
    name, head = name_of(table), lineage(table)[0]
    old, new = _differing(engine, table, head, to)
    awaits = {s: n for s in consumed(table) if (n := _awaited(lake, table, s, to))}
    plan = Rollback(
        table=name,
        head=head,
        to=to,
        days=tuple(compare(engine, table_def(name), old, new, _followed_day(name))),
        awaits=awaits,
        followed_by=tuple(consumers_of(name)),
        rewinds=_came_to(table, to) != _came_to(table, head),
        reread=_reread(table, to) if name.startswith("bronze.") else None,
    )
    return plan, old, new


def _commit(table: Table, plan: Rollback, old: Files, new: Files) -> None:
    commit(
        table,
        remove=old.files,
        add_files=new.files,
        needs=[plan.to.snapshot_id],
        mode=Mode.RECOMPUTE,
        days=[d.day for d in plan.days if d.day is not None],
        figures={"restored": new.rows, "withdrawn": old.rows, "recomputed": 1},
        extra={**_progress(table, plan.to), ROLLED_BACK_TO: str(plan.to.snapshot_id)},
    )


def _came_to(table: Table, at: Snapshot) -> tuple[dict[str, Consumed], object]:
    """What the table had consumed, of other tables and of Kafka."""
    kafka = json.loads(_value(table, at, KAFKA) or "{}")
    return _consumed(table, at), (kafka.get("epoch"), kafka.get("next"))


def _consumed(table: Table, at: Snapshot) -> dict[str, Consumed]:
    found = json.loads(_value(table, at, SOURCES) or "{}")
    return {source: Consumed.from_json(value) for source, value in found.items()}


def _value(table: Table, at: Snapshot, key: str) -> str | None:
    """What was on record then: the snapshot need not be in the lineage, where a tag keeps it."""
    for snapshot in ancestors_of(at, table.metadata):
        if snapshot.summary is not None and key in snapshot.summary.additional_properties:
            return snapshot.summary.additional_properties[key]
    return None


def _progress(table: Table, to: Snapshot) -> dict[str, str]:
    """How far the table had come then; nothing where it had no progress on record yet."""
    found = {}
    for key, nothing in ((SOURCES, "{}"), (SEEN, "{}"), (KAFKA, None)):
        value = _value(table, to, key)
        if value is None and summary_value(table, key) is not None:
            value = nothing
        if value is not None:
            found[key] = value
    return found


def _differing(engine: Engine, table: Table, head: Snapshot, to: Snapshot) -> tuple[Files, Files]:
    """The files to take out and to put back: of days whose rows differ, and that are still held.

    A day that was only compacted since stays as it is, and one that retention dropped stays away.
    """
    old, new = sides(table, head, to)
    definition, held = table_def(name_of(table)), retained(table)
    if not definition.record.day:
        return old, new
    days = {d.day for d in compare(engine, definition, old, new)}
    wanted = {day for day in days if day is not None and held.holds(day)}
    return _of_days(old, wanted), _of_days(new, wanted)


def _of_days(files: Files, days: set[date]) -> Files:
    return files.only(f for f in files.files if day_of_file(f) in days)


def _followed_day(name: str) -> str:
    """The day that consumers go by: in silver that of trading, not of arrival."""
    definition = table_def(name)
    if definition.namespace != "silver":
        return definition.record.day
    return next(kind.record.day for kind in Kind if kind.record.name == definition.record.name)


def _awaited(lake: Lake, table: Table, source: str, to: Snapshot) -> int:
    """How many commits of the source the table would take up again. Raises UsageError."""
    name, found = name_of(table), existing_table(lake, source)
    done = _consumed(table, to).get(source, Consumed())
    if found is None:
        return 0
    try:
        return len(changes_since(found, done.through))
    except InvariantBroken:
        oldest = lineage(found)[-1].sequence_number or 0
        enough = [
            s
            for s in lineage(table)
            if _consumed(table, s).get(source, Consumed()).through >= oldest - 1
        ]
        far = f"{enough[-1].snapshot_id} or a newer one" if enough else "none: materialize its days"
        raise UsageError(
            f"{name} of snapshot {to.snapshot_id} had consumed {source} up to sequence "
            f"{done.through}, and would take up again what came after; but {source} keeps its "
            f"commits only from sequence {oldest} on. Possible is {far}."
        ) from None


def _reread(table: Table, to: Snapshot) -> Reread:
    """The frames that were read since. Raises UsageError where they are of several epochs."""
    then, now = _value(table, to, KAFKA), summary_value(table, KAFKA)
    if then is None or now is None:
        raise UsageError(
            f"snapshot {to.snapshot_id} of {name_of(table)} does not say up to which Kafka offset "
            "it holds frames: no commit of K2 made it. Choose one that `k2 lake snapshots` lists "
            "with offsets."
        )
    before, after = json.loads(then), json.loads(now)
    if before["epoch"] != after["epoch"]:
        raise UsageError(
            f"{name_of(table)} cannot go back to snapshot {to.snapshot_id}: that is of epoch "
            f"{before['epoch']} (offsets {before['next']}), the table is in epoch {after['epoch']} "
            f"(offsets {after['next']}). Kafka serves the newest epoch alone, so the frames of "
            "the others would be lost."
        )
    start = {int(p): int(o) for p, o in before["next"].items()}
    end = {int(p): int(o) for p, o in after["next"].items() if int(o) > start.get(int(p), 0)}
    return Reread(after["topic"], after["cluster"], after.get("topic_id", ""), start, end)
