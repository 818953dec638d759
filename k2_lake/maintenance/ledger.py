"""``ops.maintenance``: every action of maintenance with its figures before and after."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import pyarrow as pa
from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.history import Mode
from k2_lake.scan import planned
from k2_lake.tables import MAINTENANCE_TABLE
from k2_market.maintenance import MAINTENANCE, Action, Deed, Figures


@dataclass(frozen=True)
class Begun:
    """An action that is under way: its time and the state of the table, or day, before it.

    ``Begun(action, figures_of(table))`` when it begins, ``done`` when it has ended.
    """

    table_name: str
    action: Action
    before: Figures
    day: date | None = None
    dry_run: bool = False
    run_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=time.monotonic)

    def done(self, after: Figures, bytes_freed: int = 0) -> Deed:
        """What goes on record of it."""
        return Deed(
            run_at=self.run_at,
            table_name=self.table_name,
            action=self.action,
            before=self.before,
            after=after,
            took_ms=round((time.monotonic() - self._started) * 1000),
            day=self.day,
            dry_run=self.dry_run,
            bytes_freed=bytes_freed,
        )


def figures_of(table: Table) -> Figures:
    """The state of a table, as its current snapshot tells it."""
    head = table.current_snapshot()
    told = {} if head is None or head.summary is None else head.summary.additional_properties
    return Figures(
        rows=int(told.get("total-records", 0)),
        files=int(told.get("total-data-files", 0)),
        bytes=int(told.get("total-files-size", 0)),
        snapshots=len(table.metadata.snapshots),
        snapshot=None if head is None else head.snapshot_id,
    )


def figures_with(table: Table, files: Iterable[DataFile]) -> Figures:
    """The state of a part of a table, such as a day, that has or would have these files."""
    held = list(files)
    return replace(
        figures_of(table),
        rows=sum(f.record_count for f in held),
        files=len(held),
        bytes=sum(f.file_size_in_bytes for f in held),
    )


@retry_conflicts
def record(lake: Lake, deeds: Iterable[Deed]) -> None:
    """Put actions on record, in one commit."""
    rows = pa.Table.from_pylist([dict(d.row()) for d in deeds], schema=MAINTENANCE.schema)
    if rows.num_rows:
        days = {d for d in rows["run_date"].to_pylist() if d is not None}
        commit(lake.table(MAINTENANCE_TABLE), add=[rows], mode=Mode.APPEND, days=days)


def recorded(lake: Lake, where: BooleanExpression | None = None) -> pa.Table:
    """The actions on record in the files that may hold what ``where`` says, newest first."""
    files = planned(lake.table(MAINTENANCE_TABLE), MAINTENANCE.schema, where)
    return DuckDBEngine(io=lake.io).query(
        "select * from files order by run_at desc, table_name, day",
        {"files": files},
        MAINTENANCE.schema,
    )
