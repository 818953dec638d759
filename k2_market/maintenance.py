"""The record of what maintenance did to the lake: a row for every action on a table, or a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import pyarrow as pa

from k2_market.records import INSTANT, Record, field


class Action(StrEnum):
    """What was done."""

    COMPACT = "compact"
    EXPIRE = "expire"
    GC = "gc"
    RETAIN = "retain"


def _count(name: str, doc: str) -> pa.Field[Any]:
    return field(name, pa.int64(), doc)


MAINTENANCE = Record(
    name="Maintenance",
    doc="What one action of maintenance did to one table, or to one day of it.",
    schema=pa.schema(
        [
            field("run_at", INSTANT, "When the action began."),
            field("table_name", pa.string(), "The table, such as gold.trades."),
            field("action", pa.string(), "compact, expire, gc or retain."),
            field("day", pa.date32(), "The day of the table, null for all of it.", nullable=True),
            field("dry_run", pa.bool_(), "Whether it only said what it would do."),
            _count("rows_before", "Rows of the table, or of the day."),
            _count("rows_after", "The same afterwards; of a dry run, as it would be."),
            _count("files_before", "Data files that hold them; for gc all files in the store."),
            _count("files_after", "The same afterwards."),
            _count("bytes_before", "Size of these files."),
            _count("bytes_after", "The same afterwards."),
            _count("bytes_freed", "Bytes deleted from the store: only gc frees any."),
            _count("snapshots_before", "Snapshots kept."),
            _count("snapshots_after", "The same afterwards."),
            field(
                "snapshot_before",
                pa.int64(),
                "Id of the current snapshot; null where there was none.",
                nullable=True,
            ),
            field("snapshot_after", pa.int64(), "The same afterwards.", nullable=True),
            _count("took_ms", "How long it took, in milliseconds."),
            field("run_date", pa.date32(), "UTC day of run_at."),
        ]
    ),
    key=("run_at", "table_name", "action", "day"),
    order=("run_at", "table_name", "day"),
    day="run_date",
)


@dataclass(frozen=True)
class Figures:
    """The state of a table, or of one day of it; fields as in MAINTENANCE."""

    rows: int
    files: int
    bytes: int
    snapshots: int
    snapshot: int | None


@dataclass(frozen=True)
class Deed:
    """One action: what it did to a table or a day, from one state to another."""

    run_at: datetime
    table_name: str
    action: Action
    before: Figures
    after: Figures
    took_ms: int
    day: date | None = None
    dry_run: bool = False
    bytes_freed: int = 0

    def row(self) -> Mapping[str, Any]:
        """The same with the names of the record."""
        own = asdict(self)
        states = [(own.pop(side), side) for side in ("before", "after")]
        figures = {f"{name}_{side}": n for state, side in states for name, n in state.items()}
        return {**own, **figures, "action": str(self.action), "run_date": self.run_at.date()}
