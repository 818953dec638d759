"""How the tables stand: what they hold, in how many files, and how much history they carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.history import lineage
from k2_lake.maintenance.waiting import Waiting, waiting
from k2_lake.read_sql import existing_table
from k2_lake.scan import planned
from k2_lake.tables import TABLES, name_of, table_def

SMALL_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class TableStatus:
    """The state of one table; sizes in bytes.

    ``small_files`` are those below 32 MiB that share their day, and exchange, with another such:
    those that compaction can put together. ``snapshots`` counts all that are kept, tagged ones too.
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
        small_files=sum(n for n in small_files(files).values() if n > 1),
        bytes=sum(f.file_size_in_bytes for f in files),
        snapshots=len(table.metadata.snapshots),
        metadata_bytes=len(table.io.new_input(table.metadata_location)),
        oldest_at=datetime.fromtimestamp(oldest / 1000, UTC),
        waiting=tuple(waiting(lake, table)),
    )


def small_files(files: tuple[DataFile, ...]) -> Counter[str]:
    """How many small files each partition has."""
    return Counter(str(f.partition) for f in files if f.file_size_in_bytes < SMALL_BYTES)
