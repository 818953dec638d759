"""Which commit brought rows of a table, however often later ones wrote them again.

Compactions, recomputes and ticks rewrite files without changing most of their rows. The commit that
is looked for is the last one before which the row, exactly as it is, was not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_lake.engine import Engine, Input
from k2_lake.history import MODE
from k2_lake.scan import Files, planned
from k2_lake.tables import name_of, table_def
from k2_lake.travel.as_of import committed_at
from k2_lake.travel.maps import as_it_was, comparable


@dataclass(frozen=True)
class Origin:
    """A commit and how many of the rows it brought.

    ``committed_at`` and ``mode`` are None where its snapshot has expired. ``or_earlier``: what was
    there before it is not kept, so that it may only have written the rows again.
    """

    table: str
    snapshot_id: int
    sequence: int
    committed_at: datetime | None
    mode: str | None
    rows: int
    or_earlier: bool


_Added = tuple[int, int]


def origins(
    engine: Engine, table: Table, at: Snapshot, where: BooleanExpression, rows: pa.Table
) -> list[Origin]:
    """The commits that brought ``rows``, the oldest first.

    The rows, with all columns, are of the snapshot ``at`` and in files for which ``where`` holds.
    """
    found: Counter[tuple[_Added, bool]] = Counter()
    looking = [(at, rows)]
    while looking:
        snapshot, wanted = looking.pop()
        for added, held in _by_commit(engine, table, snapshot, where, wanted):
            brought, before = _split(engine, table, added[0], where, held)
            if brought.num_rows:
                found[added, _is_first_kept(table, added[0])] += brought.num_rows
            if before is not None:
                looking.append(before)
    return [
        _origin(table, added, n, first) for (added, first), n in sorted(found.items(), key=_age)
    ]


def _age(item: tuple[tuple[_Added, bool], int]) -> int:
    return item[0][0][1]


def _by_commit(
    engine: Engine, table: Table, at: Snapshot, where: BooleanExpression, wanted: pa.Table
) -> list[tuple[_Added, pa.Table]]:
    """The wanted rows by the commit that wrote the file they are in: its id and sequence."""
    files = planned(table, table_def(name_of(table)).schema, where, at.snapshot_id)
    holding = [
        (file, held)
        for file in files.files
        if (held := _held(engine, files.only([file]), wanted)).num_rows
    ]
    added = _added_by(table, at, [file for file, _ in holding])
    parts: dict[_Added, list[pa.Table]] = {}
    for file, held in holding:
        parts.setdefault(added[file.file_path], []).append(held)
    return [(commit, pa.concat_tables(tables)) for commit, tables in parts.items()]


def _split(
    engine: Engine, table: Table, snapshot_id: int, where: BooleanExpression, rows: pa.Table
) -> tuple[pa.Table, tuple[Snapshot, pa.Table] | None]:
    """Those that the commit brought; and those that were there before it, with that state."""
    snapshot = table.snapshot_by_id(snapshot_id)
    parent = None if snapshot is None else snapshot.parent_snapshot_id
    before = None if parent is None else table.snapshot_by_id(parent)
    if snapshot is None or before is None or _only_added(snapshot):
        return rows, None
    files = planned(table, table_def(name_of(table)).schema, where, before.snapshot_id)
    there = _held(engine, files, rows)
    if not there.num_rows:
        return rows, None
    return _without(engine, rows, there), (before, there)


def _only_added(snapshot: Snapshot) -> bool:
    """A commit that took nothing away cannot have written again what was there."""
    summary = {} if snapshot.summary is None else snapshot.summary.additional_properties
    return int(summary.get("deleted-data-files", 0)) == 0


def _held(engine: Engine, files: Files, wanted: pa.Table) -> pa.Table:
    return _compared(engine, wanted, "intersect", files)


def _without(engine: Engine, rows: pa.Table, others: pa.Table) -> pa.Table:
    return _compared(engine, rows, "except", others)


def _compared(engine: Engine, rows: pa.Table, how: str, others: Input) -> pa.Table:
    columns = comparable(rows.schema)
    kept = ", ".join(f"{as_it_was(field, 't')} as {field.name}" for field in rows.schema)
    both = f"select {columns} from ours {how} select {columns} from others"
    inputs: dict[str, Input] = {"ours": rows, "others": others}
    return engine.query(f"select {kept} from ({both}) t", inputs, rows.schema)


def _added_by(table: Table, at: Snapshot, files: Iterable[DataFile]) -> dict[str, _Added]:
    """By path, the id and the sequence of the commit that wrote the file."""
    wanted, found = {f.file_path for f in files}, dict[str, _Added]()
    for manifest in at.manifests(table.io):
        if len(found) == len(wanted):
            break
        for entry in manifest.fetch_manifest_entry(table.io):
            if entry.data_file.file_path in wanted and entry.snapshot_id is not None:
                found[entry.data_file.file_path] = entry.snapshot_id, entry.sequence_number or 0
    return found


def _is_first_kept(table: Table, snapshot_id: int) -> bool:
    """Whether what was there before that commit is not kept, though there was something."""
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None:
        return True
    return (
        snapshot.parent_snapshot_id is None
        and snapshot.sequence_number != 1
        and not _only_added(snapshot)
    )


def _origin(table: Table, added: _Added, rows: int, first: bool) -> Origin:
    snapshot = table.snapshot_by_id(added[0])
    summary = (
        {}
        if snapshot is None or snapshot.summary is None
        else snapshot.summary.additional_properties
    )
    return Origin(
        table=name_of(table),
        snapshot_id=added[0],
        sequence=added[1],
        committed_at=None if snapshot is None else committed_at(snapshot),
        mode=None if snapshot is None else summary.get(MODE, "other writer"),
        rows=rows,
        or_earlier=first,
    )
