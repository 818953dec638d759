"""Which files hold the rows: of a day, of a snapshot, of a range of ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import pyarrow as pa
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    In,
    LessThan,
)
from pyiceberg.manifest import DataFile, ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_lake.evolution import later_columns
from k2_lake.faults import planning
from k2_lake.tables import name_of
from k2_market.errors import InvariantBroken

_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Files:
    """Data files with the schema of their rows; the same thing to every engine.

    ``evolved``: the table has had other columns, or another order of them. ``lacking`` names then,
    by location, the columns that were added after a file was written: they are null in its rows.
    That any other column is missing in a file is an error.
    """

    schema: pa.Schema
    files: tuple[DataFile, ...]
    evolved: bool = False
    lacking: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        """The locations as Iceberg wrote them."""
        return [f.file_path for f in self.files]

    @property
    def rows(self) -> int:
        """Rows in all files, from their metadata."""
        return sum(f.record_count for f in self.files)

    def __add__(self, other: Files) -> Files:
        """Both together."""
        return Files(
            self.schema,
            self.files + other.files,
            self.evolved or other.evolved,
            {**self.lacking, **other.lacking},
        )

    def only(self, files: Iterable[DataFile]) -> Files:
        """Some of the files."""
        return replace(self, files=tuple(files))


def of_day(day_column: str, day: date, exchanges: Iterable[str] | None = None) -> BooleanExpression:
    """The filter for one day, of some exchanges or all."""
    only: BooleanExpression = EqualTo(day_column, day)
    return only if exchanges is None else And(only, In("exchange", sorted(exchanges)))


def between(column: str, start: datetime, end: datetime) -> BooleanExpression:
    """The filter for instants in [start, end)."""
    return And(GreaterThanOrEqual(column, start.isoformat()), LessThan(column, end.isoformat()))


def day_of_file(file: DataFile) -> date:
    """The day of a file's rows, in a table that is partitioned by days."""
    return date.fromordinal(_EPOCH + file.partition[0])


def planned(
    table: Table,
    schema: pa.Schema,
    where: BooleanExpression | None = None,
    snapshot_id: int | None = None,
) -> Files:
    """The files that may hold rows for which ``where`` is true, at a snapshot or now.

    Pruned by partition and by column statistics; the filter must be repeated on the rows. Raises
    FileBroken where the lists of the files are damaged, LakeUnavailable.
    """
    scan = table.scan(row_filter=AlwaysTrue() if where is None else where, snapshot_id=snapshot_id)
    with planning(table, [scan.snapshot()]):
        tasks = list(scan.plan_files())
    if any(task.delete_files for task in tasks):
        raise InvariantBroken(
            f"{name_of(table)} has delete files, which K2 never writes and its readers ignore. "
            "Another writer changed the table: roll it back, or rewrite its files."
        )
    return files_of(table, schema, [task.file for task in tasks])


def appended(table: Table, snapshots: Iterable[Snapshot], schema: pa.Schema) -> Files:
    """The files that these snapshots added, oldest first. Raises as ``planned`` does."""
    files: list[DataFile] = []
    for snapshot in snapshots:
        with planning(table, [snapshot]):
            files += _added_by(table, snapshot)
    return files_of(table, schema, files)


def _added_by(table: Table, snapshot: Snapshot) -> list[DataFile]:
    return [
        entry.data_file
        for manifest in snapshot.manifests(table.io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.status == ManifestEntryStatus.ADDED and entry.snapshot_id == snapshot.snapshot_id
    ]


def files_of(table: Table, schema: pa.Schema, files: Iterable[DataFile]) -> Files:
    """These files of the table, with what the metadata of each says that it lacks."""
    found = tuple(files)
    # An older table that is only read: none of its files has them.
    unknown = frozenset(schema.names) - {f.name for f in table.schema().fields}
    if len(table.metadata.schemas) == 1 and not unknown:
        return Files(schema, found)
    later, lacking = later_columns(table), {}
    for file in found:
        held = set(file.column_sizes or ())
        lacks = unknown | {name for name, ids in later.items() if held and not ids & held}
        if lacks:
            lacking[file.file_path] = lacks
    return Files(schema, found, evolved=True, lacking=lacking)
