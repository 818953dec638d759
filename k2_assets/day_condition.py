"""The asset of every day's condition: one check warns of what is lacking, one blocks."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.checks import Check, table_checks
from k2_assets.days import day_of
from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import PARTITION_TAG, Result, asset_key, in_process_job, table_asset, told
from k2_feeds.selection import read_selection
from k2_lake.catalog import Lake
from k2_lake.quality.day_audit import one_condition_each
from k2_lake.quality.day_condition import SOURCES, assess, conditions
from k2_lake.quality.day_due import first_arrival
from k2_lake.quality.day_expectation import Configured
from k2_lake.tables import CONDITION_TABLE, candle_name
from k2_market.conditions import Condition, Instrumented
from k2_market.errors import UsageError
from k2_market.timeframes import TIMEFRAMES

SHOWN = 20
# The file of what is recorded, where it is neither the home's nor K2's own.
INSTRUMENTS_VARIABLE = "K2_INSTRUMENTS"
INSTRUMENTS_FILE = "instruments.yaml"
OWN_FILE = Path(__file__).resolve().parent.parent / INSTRUMENTS_FILE


def configured(lake: Lake) -> Configured:
    """What instruments.yaml lists since anything arrived.

    The file is that of K2_INSTRUMENTS, else the home's, else the one that K2 comes with. Raises
    UsageError where it cannot be read or says what cannot be done.
    """
    named = os.environ.get(INSTRUMENTS_VARIABLE, "").strip()
    of_home = lake.settings.home / INSTRUMENTS_FILE
    file = Path(named) if named else of_home if of_home.exists() else OWN_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(file)!r} cannot be read: {error}. Restore it.") from None
    listed = {
        Instrumented(each.exchange, symbol, kind)
        for each in read_selection(text, str(file))
        for kind in each.kinds
        for symbol in each.symbols
    }
    return Configured(listed, first_arrival(lake))


# After the last candles, for until these are there the day counts as pending.
@table_asset(CONDITION_TABLE, deps=[*SOURCES, candle_name([*TIMEFRAMES][-1])])
def day_condition(
    context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource
) -> Result:
    """Counts what the tables hold of the day, whoever started the run."""
    opened, day = lake.open(), day_of(context.partition_key)
    engine = engine_for(opened, duckdb)
    result = assess(opened, engine, day, datetime.now(UTC), configured(opened))
    return told(opened, result, day)


@dg.asset_check(
    asset=asset_key(CONDITION_TABLE),
    name="nothing_lacking",
    description="No instrument's day is degraded or missing.",
    blocking=False,
)
def nothing_lacking(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, duckdb: DuckDBResource
) -> dg.AssetCheckResult:
    """Warns, and names the first instruments with the reasons."""
    opened, day = lake.open(), _day(context)
    rows = conditions(engine_for(opened, duckdb), opened.table(CONDITION_TABLE), day, day)
    lacking = [r for r in rows if r["condition"] in (Condition.DEGRADED, Condition.MISSING)]
    first = "\n".join(
        f"{r['exchange']} {r['symbol']} {r['kind']} {r['condition']}: {'; '.join(r['reasons'])}"
        for r in lacking[:SHOWN]
    )
    return dg.AssetCheckResult(
        passed=not lacking,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "day": day.isoformat(),
            "instruments": len(rows),
            "lacking": len(lacking),
            **({"first": first} if lacking else {}),
        },
    )


def _day(context: dg.AssetCheckExecutionContext) -> date:
    named = context.run.tags.get(PARTITION_TAG)
    return datetime.now(UTC).date() if named is None else day_of(named)


CONDITION = in_process_job(
    "day_condition",
    dg.AssetSelection.assets(asset_key(CONDITION_TABLE)),
    "Whether each instrument's day is whole.",
)
ASSETS = [day_condition]
CHECKS = [
    nothing_lacking,
    table_checks(
        CONDITION_TABLE,
        [
            Check(
                "one_each",
                "Every exchange, symbol and kind that gold has of the day has one condition, with "
                "gold's rows.",
                one_condition_each,
            )
        ],
    ),
]
