"""Maintenance as assets: what is done to the tables' files and snapshots, and the record of it."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import dagster as dg
from pyiceberg.expressions import GreaterThanOrEqual

from k2_assets.resources import LakeResource
from k2_assets.tables import Result, asset_key, table_asset
from k2_lake.maintenance.ledger import recorded
from k2_lake.tables import MAINTENANCE_TABLE
from k2_market.maintenance import Action

GROUP = "maintenance"
# How far back the figures of the record, and its check, look.
LOOKS_BACK = timedelta(days=7)
SHOWN = 20
KEEPS_ROWS = {str(a) for a in (Action.COMPACT, Action.EXPIRE, Action.GC)}


@table_asset(MAINTENANCE_TABLE, partitions=None, group=GROUP)
def maintenance(lake: LakeResource) -> Result:
    """What was done of late, by action; each row is written by the action itself."""
    done = [r for r in recorded(lake.open(), _lately()).to_pylist() if not r["dry_run"]]
    counts = Counter(row["action"] for row in done)
    return dg.MaterializeResult(
        metadata={
            "days_looked_at": LOOKS_BACK.days,
            **{f"actions: {name}": count for name, count in sorted(counts.items())},
            "bytes_freed": sum(row["bytes_freed"] for row in done),
        }
    )


@dg.asset_check(
    asset=asset_key(MAINTENANCE_TABLE),
    name="rows_kept",
    description="No row was lost or gained where files were compacted or snapshots expired.",
    blocking=True,
)
def rows_kept(lake: LakeResource) -> dg.AssetCheckResult:
    """Rows before = rows after; what retention drops is meant to go."""
    rows = recorded(lake.open(), _lately()).to_pylist()
    broken = [
        f"{row['run_at']:%Y-%m-%d %H:%M:%S} {row['action']} {row['table_name']} "
        f"{row['day'] or ''}: {row['rows_before']} rows became {row['rows_after']}"
        for row in rows
        if row["action"] in KEEPS_ROWS and row["rows_before"] != row["rows_after"]
    ]
    return dg.AssetCheckResult(
        passed=not broken,
        metadata={"actions": len(rows), "broken": "\n".join(broken[:SHOWN]) or "none"},
    )


def _lately() -> GreaterThanOrEqual:
    return GreaterThanOrEqual("run_date", (datetime.now(UTC) - LOOKS_BACK).date().isoformat())


ASSETS = [maintenance]
CHECKS = [rows_kept]
