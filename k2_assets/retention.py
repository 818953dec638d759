"""Retention as an asset: days older than the limit of their table are dropped, and on record."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from k2_assets.resources import LakeResource
from k2_assets.tables import OWNERS, Result, in_process_job
from k2_lake.maintenance.policy import Policy, policy_of
from k2_lake.maintenance.retention import Aged, named, retain
from k2_lake.tables import MAINTENANCE_TABLE

KEY = dg.AssetKey(["ops", "retention"])
GROUP = "maintenance"
_COLUMNS = (
    ("table", "string"),
    ("kept", "string"),
    ("first_kept", "string"),
    ("days", "int"),
    ("rows", "int"),
    ("files", "int"),
    ("bytes", "int"),
    ("waits_for", "string"),
)


class Retention(dg.Config):
    """What a run of retention is told."""

    dry_run: bool = Field(default=False, description="Only say what would be dropped.")
    tables: list[str] = Field(default=[], description="Only these tables; all where empty.")


@dg.asset(
    key=KEY,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"iceberg"},
    pool=MAINTENANCE_TABLE,
    description="Drops days older than the limit of their table, as retention.yaml of the home "
    "says: candles after 90 to 1825 days by timeframe, all else never unless it says so. A day "
    "that a table has yet to follow stays, and no day is computed anew from what is left.",
)
def retention(context: dg.AssetExecutionContext, config: Retention, lake: LakeResource) -> Result:
    """The figures of every table; its row of the record is written by the action itself."""
    opened, today = lake.open(), datetime.now(UTC).date()
    policy = policy_of(os.environ, opened.settings.home)
    aged = []
    for each in retain(opened, policy, today, named(config.tables), dry_run=config.dry_run):
        aged.append(each)
        if each.days:
            context.log.info("%s: %s days, %s rows", each.table, len(each.days), each.rows)
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run,
            "days": sum(len(a.days) for a in aged),
            "rows": sum(a.rows for a in aged),
            "files": sum(a.files for a in aged),
            "bytes": sum(a.bytes for a in aged),
            "policy": policy.file or "no retention.yaml: the defaults",
            "tables": _table(policy, aged),
        }
    )


def _table(policy: Policy, aged: Iterable[Aged]) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord(
            {
                "table": a.table,
                "kept": policy.told(a.table),
                "first_kept": str(a.first_kept or ""),
                "days": len(a.days),
                "rows": a.rows,
                "files": a.files,
                "bytes": a.bytes,
                "waits_for": a.waits_for,
            }
        )
        for a in aged
    ]
    columns = [dg.TableColumn(name, kind) for name, kind in _COLUMNS]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))


RETENTION = in_process_job(
    "retention",
    dg.AssetSelection.assets(KEY),
    "Drops days older than the limit of their table.",
)
ASSETS = [retention]
