"""The history of one table as people read it: its snapshots, what each did, and their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_lake.catalog import Lake
from k2_lake.history import DAYS, KAFKA, MODE, ROLLED_BACK_TO, Mode, lineage
from k2_lake.read_sql import existing_table
from k2_lake.travel.as_of import committed_at, tags
from k2_market.errors import UsageError


@dataclass(frozen=True)
class Kept:
    """One snapshot that is kept.

    ``days`` are those that its commit touched, ``added`` and ``removed`` rows of files it added and
    removed, ``rows`` all rows of the table then. ``mode`` is "rollback" for one, and "other writer"
    for a commit that is not K2's. ``offsets`` gives, for frames that came to bronze, the first and
    the next offset by partition. ``in_lineage`` is False for one that a tag alone keeps: what lay
    between has expired.
    """

    snapshot_id: int
    sequence: int
    committed_at: datetime
    mode: str
    days: tuple[date, ...]
    added: int
    removed: int
    rows: int
    tags: tuple[str, ...]
    offsets: Mapping[str, tuple[int, int]]
    in_lineage: bool


def written_table(lake: Lake, name: str) -> Table:
    """The table, which has a snapshot. Raises UnknownName, and UsageError where it has none."""
    table = existing_table(lake, name)
    if table is None or table.current_snapshot() is None:
        raise UsageError(
            f"{name} was never written here, so it has no history. `k2 lake status` lists the "
            "tables that have one."
        )
    return table


def state_up_to(table: Table, sequence: int) -> Snapshot:
    """The newest snapshot not newer than that sequence, or the oldest kept if there is none.

    For a table that has been written, and for looking: not for computing from it.
    """
    kept = lineage(table)
    return next((s for s in kept if (s.sequence_number or 0) <= sequence), kept[-1])


def kept_snapshots(table: Table) -> list[Kept]:
    """All snapshots of the table that are kept, newest first."""
    current = {s.snapshot_id for s in lineage(table)}
    named: dict[int, list[str]] = {}
    for name, snapshot_id in tags(table).items():
        named.setdefault(snapshot_id, []).append(name)
    newest_first = sorted(table.metadata.snapshots, key=lambda s: -(s.sequence_number or 0))
    return [
        _kept(s, tuple(sorted(named.get(s.snapshot_id, ()))), s.snapshot_id in current)
        for s in newest_first
    ]


def _kept(snapshot: Snapshot, names: tuple[str, ...], in_lineage: bool) -> Kept:
    summary = {} if snapshot.summary is None else snapshot.summary.additional_properties
    return Kept(
        snapshot_id=snapshot.snapshot_id,
        sequence=snapshot.sequence_number or 0,
        committed_at=committed_at(snapshot),
        mode="rollback" if ROLLED_BACK_TO in summary else summary.get(MODE, "other writer"),
        days=tuple(date.fromisoformat(d) for d in json.loads(summary.get(DAYS, "[]"))),
        added=int(summary.get("added-records", 0)),
        removed=int(summary.get("deleted-records", 0)),
        rows=int(summary.get("total-records", 0)),
        tags=names,
        offsets=_offsets(summary.get(KAFKA)) if summary.get(MODE) == Mode.APPEND else {},
        in_lineage=in_lineage,
    )


def _offsets(kafka: str | None) -> dict[str, tuple[int, int]]:
    if kafka is None:
        return {}
    found = json.loads(kafka)
    starts, ends = found["start"], found["next"]
    return {p: (int(starts.get(p, 0)), int(end)) for p, end in sorted(ends.items())}
