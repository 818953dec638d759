"""The asset that keeps Dagster's own history from growing: old runs are deleted."""

from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from k2_assets.retention import GROUP
from k2_assets.run_history import KEEP_DAYS, KEEP_FAILED_DAYS, Pruned, prune
from k2_assets.tables import OWNERS, Result, in_process_job

KEY = dg.AssetKey(["ops", "history"])


class History(dg.Config):
    """What a run of pruning is told."""

    keep_days: int = Field(default=KEEP_DAYS, ge=1, description="Days that ended runs stay.")
    keep_failed_days: int = Field(
        default=KEEP_FAILED_DAYS, ge=1, description="Days that failed runs stay."
    )
    dry_run: bool = Field(default=False, description="Only count the runs that would go.")


@dg.asset(
    key=KEY,
    group_name=GROUP,
    owners=OWNERS,
    description="Deletes runs that ended long ago, with their events and files. The run that a "
    "partition was last materialized by, failed in, or was checked in stays: no page changes.",
)
def history(context: dg.AssetExecutionContext, config: History) -> Result:
    """The counts of runs before and after."""
    counted = Pruned(0, 0, 0)
    for counted in prune(
        context.instance,
        datetime.now(UTC),
        keep_days=config.keep_days,
        keep_failed_days=config.keep_failed_days,
        dry_run=config.dry_run,
    ):
        context.log.info("%s of %s runs deleted", counted.deleted, counted.ended)
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run,
            "runs_before": counted.ended,
            "runs_deleted": counted.deleted,
            "old_runs_kept": counted.old - counted.deleted,
        }
    )


HISTORY = in_process_job(
    "history",
    dg.AssetSelection.assets(KEY),
    "Deletes runs of Dagster that ended long ago.",
)
ASSETS = [history]
