"""Dagster runs of the asset graph in this process, over the lake of a temporary home."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg

from k2_assets.definitions import definitions
from k2_assets.freshness import FRESH_CHECKS
from k2_assets.tables import MODE_TAG, PARTITION_TAG, TICK, asset_key
from k2_lake.tables import TABLES


def graph(home: Path) -> dg.Definitions:
    """The definitions, and beside them a job for each table's checks alone."""
    alone = [
        dg.define_asset_job(
            f"only_checks_of_{name.replace('.', '_')}",
            dg.AssetSelection.checks_for_assets(asset_key(name)) - FRESH_CHECKS,
            executor_def=dg.in_process_executor,
        )
        for name in TABLES
        if name != "silver.rejected"
    ]
    return dg.Definitions.merge(definitions(str(home)), dg.Definitions(jobs=alone))


def run_job(
    home: Path,
    job: str,
    day: date,
    instance: dg.DagsterInstance | None = None,
    *,
    tick: bool = False,
) -> dg.ExecuteInProcessResult:
    """One run for one day; its failure is in the result."""
    tags = {MODE_TAG: TICK} if tick else {}
    return (
        graph(home)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            partition_key=day.isoformat(),
            tags=tags,
            raise_on_error=False,
        )
    )


def run_checks(home: Path, table: str, day: date | None) -> dg.ExecuteInProcessResult:
    """The checks of a table alone, as its page starts them; Dagster gives them the day as a tag."""
    job = graph(home).resolve_job_def(f"only_checks_of_{table.replace('.', '_')}")
    tags = {} if day is None else {PARTITION_TAG: day.isoformat()}
    return job.execute_in_process(tags=tags, raise_on_error=False)


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """``gold.trades rules`` and whether it passed, for every check of the run."""
    return {
        f"{'.'.join(e.asset_key.path)} {e.check_name}": e.passed
        for e in result.get_asset_check_evaluations()
    }


def failed(result: dg.ExecuteInProcessResult) -> set[str]:
    return {name for name, passed in verdicts(result).items() if not passed}


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        ".".join(e.asset_key.path)
        for e in result.get_asset_materialization_events()
        if e.asset_key is not None
    }
