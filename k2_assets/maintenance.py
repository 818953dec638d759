"""Maintenance as assets: what is done to the tables' files and snapshots, and the record of it.

They share a pool of their own, so that one runs at a time, and never wait for a tick nor let one
wait: where both commit to a table at once, the one that comes second does it again.
"""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field
from pyiceberg.expressions import GreaterThanOrEqual

from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import OWNERS, Result, asset_key, in_process_job, table_asset
from k2_lake.maintenance.ledger import recorded
from k2_lake.maintenance.rounds import Act, Round, compacting, expiring, named, sweeping
from k2_lake.tables import MAINTENANCE_TABLE
from k2_market.maintenance import Action

GROUP = "maintenance"
# How far back the figures of the record, and its check, look.
LOOKS_BACK = timedelta(days=7)
# Of a run that may take half an hour: a day that was begun is brought to its end.
LONGEST_S = 600.0
SHOWN = 20
KEEPS_ROWS = {str(a) for a in (Action.COMPACT, Action.EXPIRE, Action.GC)}


class Upkeep(dg.Config):
    """What a run is told."""

    dry_run: bool = Field(default=False, description="Only say what would be done.")
    tables: list[str] = Field(default=[], description="Only these tables; all where empty.")


def _step(name: str, description: str) -> Callable[[Callable[..., Result]], dg.AssetsDefinition]:
    return dg.asset(
        key=dg.AssetKey(["ops", name]),
        group_name=GROUP,
        owners=OWNERS,
        kinds={"iceberg"},
        pool=MAINTENANCE_TABLE,
        description=description,
    )


@_step(
    "compaction",
    "Puts the many small files of closed days together, in the record's order: rows are counted "
    "and ids compared before the new files take the place of the old, in one commit a day.",
)
def compaction(
    context: dg.AssetExecutionContext, config: Upkeep, lake: LakeResource, duckdb: DuckDBResource
) -> Result:
    """Days with the most files first; what a run has no time for is the next one's."""
    opened, started = lake.open(), time.monotonic()
    engine = engine_for(opened, duckdb)
    act = compacting(
        opened,
        engine,
        dry_run=config.dry_run,
        enough=lambda: time.monotonic() - started > LONGEST_S,
    )
    return _went_round(context, config, act)


@_step(
    "expiry",
    "Forgets old snapshots: the newest hundred stay, those of the last quarter of an hour, those "
    "with a tag, and all that another table has yet to follow.",
)
def expiry(
    context: dg.AssetExecutionContext, config: Upkeep, lake: LakeResource, duckdb: DuckDBResource
) -> Result:
    """No file is deleted here, but with Iceberg's procedures such as ``gc`` might delete."""
    opened = lake.open()
    act = expiring(opened, engine_for(opened, duckdb), dry_run=config.dry_run)
    return _went_round(context, config, act)


@_step(
    "gc",
    "Deletes files that no kept snapshot reaches and that have lain there for three days.",
)
def gc(
    context: dg.AssetExecutionContext, config: Upkeep, lake: LakeResource, duckdb: DuckDBResource
) -> Result:
    """Where a file that is needed is missing, nothing of that table is deleted."""
    opened = lake.open()
    act = sweeping(opened, engine_for(opened, duckdb), dry_run=config.dry_run)
    return _went_round(context, config, act)


def _went_round(context: dg.AssetExecutionContext, config: Upkeep, act: Act) -> Result:
    """The figures of a round; raises the first failure once every table had its turn."""
    done = Round()
    for name in done.go(named(config.tables), act):
        context.log.debug("%s", name)
    for name, error in done.failed.items():
        context.log.error("%s: %s", name, error)
    for error in done.failed.values():
        raise error
    deeds = done.deeds
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run,
            "tables": len({d.table_name for d in deeds}),
            "actions": len(deeds),
            "files_before": sum(d.before.files for d in deeds),
            "files_after": sum(d.after.files for d in deeds),
            "rows_before": sum(d.before.rows for d in deeds),
            "rows_after": sum(d.after.rows for d in deeds),
            "snapshots_before": sum(d.before.snapshots for d in deeds),
            "snapshots_after": sum(d.after.snapshots for d in deeds),
            "bytes_freed": sum(d.bytes_freed for d in deeds),
        }
    )


@table_asset(
    MAINTENANCE_TABLE,
    deps=["ops.compaction", "ops.expiry", "ops.gc"],
    partitions=None,
    group=GROUP,
)
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


UPKEEP = in_process_job(
    "upkeep",
    dg.AssetSelection.assets(compaction, expiry, maintenance),
    "Compacts closed days and forgets old snapshots.",
)
GC = in_process_job(
    "gc", dg.AssetSelection.assets(gc, maintenance), "Deletes files that no snapshot reaches."
)
JOBS = [UPKEEP, GC]
ASSETS = [compaction, expiry, gc, maintenance]
CHECKS = [rows_kept]
