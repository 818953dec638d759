"""All assets, checks, jobs and resources in one explicit list."""

from __future__ import annotations

import dagster as dg

from k2_assets import (
    bronze,
    day_condition,
    freshness,
    gaps,
    gold,
    history,
    instruments,
    maintenance,
    ohlcv,
    reconciliation,
    retention,
    silver,
)
from k2_assets.checks import CHECKS
from k2_assets.jobs import JOBS
from k2_assets.landing import LANDING
from k2_assets.repair import REPAIR
from k2_assets.resources import resources

ASSETS = [
    *bronze.ASSETS,
    *silver.ASSETS,
    *gold.ASSETS,
    *ohlcv.ASSETS,
    *gaps.ASSETS,
    *instruments.ASSETS,
    *maintenance.ASSETS,
    *day_condition.ASSETS,
    *reconciliation.ASSETS,
    *retention.ASSETS,
    *history.ASSETS,
]


def definitions(home: str = "") -> dg.Definitions:
    """The graph for one home; empty means the environment's K2_HOME."""
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=[
            *CHECKS,
            *freshness.CHECKS,
            *gaps.CHECKS,
            *instruments.CHECKS,
            *maintenance.CHECKS,
            *day_condition.CHECKS,
            *reconciliation.CHECKS,
        ],
        jobs=[
            *JOBS,
            LANDING,
            instruments.REFRESH,
            REPAIR,
            day_condition.CONDITION,
            *maintenance.JOBS,
            reconciliation.RECONCILE,
            retention.RETENTION,
            history.HISTORY,
        ],
        resources=resources(home),
        executor=dg.in_process_executor,
    )
