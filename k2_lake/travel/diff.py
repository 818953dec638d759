"""What differs between two snapshots of a table: rows added, removed and changed, by day.

Files that both have are not read. The others are compared row by row and as often as a row is
there, so that the figures are exact however the rows were spread over files: after a compaction
nothing differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_lake.engine import Engine, statement
from k2_lake.scan import Files, planned
from k2_lake.tables import TableDef, name_of, table_def
from k2_lake.travel.maps import as_it_was, comparable

ADDED, REMOVED, CHANGED = "added", "removed", "changed"

# Of a table in which a key may come several times, what tells the rows apart beside it.
_PLACE = ("epoch", "kafka_partition", "kafka_offset", "frame_index")


@dataclass(frozen=True)
class DayDiff:
    """What differs in one day, None where the table has no days: rows counted by what they did.

    A row that is there under the same key with other values is ``changed``. A row that moved to
    another day is removed there and added here, so rows before + added - removed = rows after.
    """

    day: date | None
    added: int
    removed: int
    changed: int


@dataclass(frozen=True)
class Difference:
    """One row that differs: ``before`` and ``after`` are None where there was none."""

    what: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def columns(self) -> list[str]:
        """The columns whose values differ, for a changed row."""
        if self.before is None or self.after is None:
            return []
        return [c for c, value in self.before.items() if self.after[c] != value]


def identity(definition: TableDef, day: str) -> tuple[str, ...]:
    """What tells the rows of a table apart: key, a day, and in silver the place in Kafka."""
    record = definition.record
    place = _PLACE if definition.namespace == "silver" else ()
    names = (*record.key, *(c for c in place if c in record.columns), day)
    return tuple(dict.fromkeys(n for n in names if n))


def diff(
    engine: Engine, table: Table, before: Snapshot | None, after: Snapshot | None, day: str = ""
) -> list[DayDiff]:
    """By day, how many rows differ from one snapshot to the other; days without a difference not.

    None is the empty table. ``day`` is the column of the day, else the one of the table.
    """
    return compare(engine, table_def(name_of(table)), *sides(table, before, after), day)


def compare(
    engine: Engine, definition: TableDef, old: Files, new: Files, day: str = ""
) -> list[DayDiff]:
    """The same for rows of files that only one of the two has."""
    column, inputs = day or definition.record.day, {"old": old, "new": new}
    if not old.files and not new.files:
        return []
    named = f"cast({column} as date)" if column else "cast(null as date)"
    sql = f"{_differing(definition, column)} {statement('diff_days').format(day=named)}"
    found = engine.query(sql, inputs)
    return [DayDiff(**row) for row in found.to_pylist()]


def sides(table: Table, before: Snapshot | None, after: Snapshot | None) -> tuple[Files, Files]:
    """The files of either snapshot that the other does not have."""
    old, new = _files(table, before), _files(table, after)
    return _only(old, new), _only(new, old)


def differences(
    engine: Engine,
    table: Table,
    before: Snapshot | None,
    after: Snapshot | None,
    limit: int | None = None,
) -> Iterator[Difference]:
    """The rows that differ, by identity, at most ``limit`` of them."""
    definition = table_def(name_of(table))
    old, new = sides(table, before, after)
    if not old.files and not new.files:
        return
    day = definition.record.day
    sql = f"{_differing(definition, day)} {statement('diff_rows')}"
    order = ", ".join(identity(definition, day))
    bound = "" if limit is None else f" limit {int(limit)}"
    rows = engine.query(f"{sql} order by {order}, copy{bound}", {"old": old, "new": new})
    for row in rows.to_pylist():
        yield _difference(definition, row)


def _difference(definition: TableDef, row: Mapping[str, Any]) -> Difference:
    before, after = (
        {c: row[f"{side}_{c}"] for c in definition.record.columns} if there else None
        for side, there in (("before", row["was"]), ("after", row["became"]))
    )
    what = ADDED if before is None else REMOVED if after is None else CHANGED
    return Difference(what, before, after)


def _differing(definition: TableDef, day: str) -> str:
    keys, schema = identity(definition, day), definition.record.schema
    sides = [
        f"{as_it_was(field, at)} as {side}_{field.name}"
        for at, side in (("b", "before"), ("a", "after"))
        for field in schema
    ]
    return statement("diff").format(
        columns=comparable(schema),
        keys=", ".join(keys),
        same=" and ".join(f"b.{k} = a.{k}" for k in keys),
        either=", ".join(f"coalesce(b.{k}, a.{k}) as {k}" for k in keys),
        sides=", ".join(sides),
    )


def _files(table: Table, snapshot: Snapshot | None) -> Files:
    schema = table_def(name_of(table)).schema
    if snapshot is None:
        return Files(schema, ())
    return planned(table, schema, snapshot_id=snapshot.snapshot_id)


def _only(files: Files, other: Files) -> Files:
    known = set(other.paths)
    return files.only(f for f in files.files if f.file_path not in known)
