"""What all table assets share: key, metadata, pool, mode of a run, and the figures of a result."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pyarrow as pa

from k2_assets.days import DAYS, backfill_policy
from k2_lake.catalog import Lake
from k2_lake.results import StepResult
from k2_lake.scan import of_day, planned
from k2_lake.tables import TABLES, table_def

OWNERS = ["team:market-data"]
Result = dg.MaterializeResult[Any]
MODE_TAG = "k2/mode"
# What a run was asked for: sensors name it, and count the runs with its name.
BACKLOG_TAG = "k2/backlog"
PARTITION_TAG = "dagster/partition"
TICK = "tick"

_TRADE_DAY = (
    "A partition is a UTC day of trading, whatever day its frames arrived on; where the page warns "
    "of missing upstream data, it only means that no frame arrived on the day of trading itself."
)
PARTITION_MEANS = {
    "": "A partition is an exchange.",
    "ingest_date": "A partition is a UTC day of arrival in Kafka.",
    "day": _TRADE_DAY,
    "trade_date": _TRADE_DAY,
    "quote_date": _TRADE_DAY,
    "gap_date": "A partition is a UTC day of trading: the one of the trade before the gap.",
    "window_date": _TRADE_DAY,
    "run_date": "The day is that of the run.",
}


def asset_key(table: str) -> dg.AssetKey:
    """``gold.trades`` is the asset ``gold/trades``."""
    return dg.AssetKey(table.split("."))


def in_process_job(name: str, selection: dg.AssetSelection, description: str) -> Any:
    """A job whose run is one process: starting one for each step takes longer than most steps."""
    return dg.define_asset_job(
        name, selection, description=description, executor_def=dg.in_process_executor
    )


def table_asset(
    table: str,
    *,
    deps: Sequence[str] = (),
    kinds: Iterable[str] = (),
    partitions: dg.PartitionsDefinition[str] | None = DAYS,
    group: str | None = None,
    after_others: bool = False,
    in_ranges: bool = False,
) -> Callable[[Callable[..., object]], dg.AssetsDefinition]:
    """The decorator that makes a step the asset of a table, with all that its definition tells.

    ``group`` is the table's namespace unless it is given. ``after_others``: of the steps that could
    run next, it lets all others go first. ``in_ranges``: it is a step of ``each_day``, so that one
    run may do several days, where the engine makes that worth it.
    """
    definition = table_def(table)
    with warnings.catch_warnings():
        # Policies are beta in Dagster 1.13; without one Spark had a session to start for each day.
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
        return dg.asset(
            key=asset_key(table),
            deps=[asset_key(d) for d in deps],
            partitions_def=partitions,
            backfill_policy=backfill_policy(os.environ) if in_ranges else None,
            group_name=group or definition.namespace,
            kinds={"iceberg", "duckdb", *kinds},
            owners=OWNERS,
            description=(
                f"{definition.doc}\n\n{definition.record.doc} One row per "
                f"{', '.join(definition.record.key)}; partitioned by "
                f"{', '.join(definition.partition_columns)}. "
                f"{PARTITION_MEANS[definition.record.day]}"
            ),
            metadata={
                "dagster/table_name": table,
                "dagster/column_schema": column_schema(definition.schema),
            },
            pool=table,
            op_tags={"dagster/priority": "-1"} if after_others else None,
        )


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """The columns as Dagster shows them, with the records' own sentences."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                f.name,
                str(f.type),
                (f.metadata or {}).get(b"doc", b"").decode(),
                constraints=dg.TableColumnConstraints(nullable=f.nullable),
            )
            for f in schema
        ]
    )


def is_tick(context: dg.AssetExecutionContext) -> bool:
    """Whether a sensor asked for what is new; a run from the page computes its day anew."""
    return context.run.tags.get(MODE_TAG) == TICK


def told(
    lake: Lake, result: StepResult, day: date, more: Mapping[str, Any] | None = None
) -> Result:
    """The result of a step as metadata of the materialization of ``day``."""
    definition = TABLES[result.table]
    rows = planned(
        lake.table(result.table), definition.schema, of_day(definition.record.day, day)
    ).rows
    return dg.MaterializeResult(
        asset_key=asset_key(result.table),
        metadata={
            "dagster/partition_row_count": rows,
            "rows": rows,
            "snapshot_id": "none" if result.snapshot_id is None else str(result.snapshot_id),
            "sequence_before": result.sequence_before,
            "changed": result.changed,
            **result.figures,
            **(more or {}),
        },
    )
