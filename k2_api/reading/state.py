"""How the tables stand: snapshot, rows, lag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyiceberg.table.snapshots import Snapshot

from k2_api.reading.reader import LakeReader
from k2_lake.quality.freshness import SLO_S, Freshness
from k2_lake.tables import TABLES, table_def
from k2_lake.travel.as_of import committed_at
from k2_lake.travel.snapshots import kept_snapshots


def table_states(
    reader: LakeReader, names: Sequence[str], lags: Mapping[str, Freshness]
) -> list[dict[str, Any]]:
    """Snapshot, time, rows and lag of these tables, by their metadata. Raises LakeUnavailable."""
    found = reader.tables()
    states = []
    for name in names:
        head = found[name].current_snapshot() if name in found else None
        states.append(
            {
                "name": name,
                "snapshot_id": None if head is None else str(head.snapshot_id),
                "committed_at": None if head is None else committed_at(head),
                "rows": 0 if head is None else _rows(head),
                "lag_seconds": round(lags[name].lag_s, 1) if name in lags else None,
                "slo_seconds": SLO_S.get(name),
            }
        )
    return states


def kept_states(reader: LakeReader, name: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest ``limit`` snapshots of one table, or of each, that ``as_of`` can name.

    Raises UnknownName, LakeUnavailable.
    """
    wanted = [table_def(name).name] if name else [n for n in TABLES if n.startswith("gold.")]
    tables = reader.tables()
    return [
        {
            "table": wanted_name,
            "snapshot_id": str(kept.snapshot_id),
            "committed_at": kept.committed_at,
            "mode": kept.mode,
            "days": kept.days,
            "added": kept.added,
            "removed": kept.removed,
            "rows": kept.rows,
            "tags": kept.tags,
        }
        for wanted_name in wanted
        if wanted_name in tables
        for kept in kept_snapshots(tables[wanted_name])[:limit]
    ]


def _rows(snapshot: Snapshot) -> int:
    summary = {} if snapshot.summary is None else snapshot.summary.additional_properties
    return int(summary.get("total-records", 0))
