"""How the tables stand: what they hold, in how many files, and how much history they carry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.history import lineage
from k2_lake.maintenance.compaction import small_files
from k2_lake.maintenance.waiting import Waiting, waiting
from k2_lake.read_sql import existing_table
from k2_lake.scan import planned
from k2_lake.tables import TABLES, name_of, table_def


@dataclass(frozen=True)
class TableStatus:
    """The state of one table; sizes in bytes.

    ``small_files`` are those that share their day, and exchange, with others: those that compaction
    can put together. ``snapshots`` counts all that are kept, tagged ones too.
    """

    name: str
    rows: int
    files: int
    small_files: int
    bytes: int
    snapshots: int
    metadata_bytes: int
    oldest_at: datetime
    waiting: tuple[Waiting, ...]


def survey(lake: Lake) -> Iterator[TableStatus]:
    """The state of every table that was ever written, in the order of the flow."""
    for name in TABLES:
        table = existing_table(lake, name)
        if table is not None and table.current_snapshot() is not None:
            yield table_status(lake, table)


def table_status(lake: Lake, table: Table) -> TableStatus:
    """The state of one table with a snapshot."""
    files = planned(table, table_def(name_of(table)).schema).files
    oldest = min(s.timestamp_ms for s in lineage(table))
    return TableStatus(
        name=name_of(table),
        rows=sum(f.record_count for f in files),
        files=len(files),
        small_files=small_files(files),
        bytes=sum(f.file_size_in_bytes for f in files),
        snapshots=len(table.metadata.snapshots),
        metadata_bytes=len(table.io.new_input(table.metadata_location)),
        oldest_at=datetime.fromtimestamp(oldest / 1000, UTC),
        waiting=tuple(waiting(lake, table)),
    )
