"""The gaps asset: what is missing in gold trades, and a check that warns and stops nothing."""

from collections import Counter
from datetime import date

import dagster as dg
from dagster_duckdb import DuckDBResource
from pyiceberg.expressions import EqualTo

from k2_assets.ranges import Results, each_day
from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import Result, asset_key, is_tick, table_asset, told
from k2_lake.quality.gap_ledger import Cause, Gap, State
from k2_lake.quality.gaps import find_gaps, recorded_gaps
from k2_lake.tables import GAPS_TABLE, TRADES_TABLE

SHOWN = 20


@table_asset(GAPS_TABLE, deps=[TRADES_TABLE], after_others=True, in_ranges=True)
def gaps(context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource) -> Results:
    """A tick looks around the new trades; a run from the page looks at all trades of the day."""
    opened = lake.open()
    engine = engine_for(opened, duckdb)

    def of_day(day: date) -> Result:
        result = find_gaps(opened, engine, day, recompute=not is_tick(context))
        still_open = open_gaps(recorded_gaps(opened, engine, EqualTo("state", State.OPEN.value)))
        missing: Counter[str] = Counter()
        for gap in still_open:
            missing[gap.exchange] += gap.missing
        more = {"open": len(still_open), "missing_trades": dg.MetadataValue.json(dict(missing))}
        return told(opened, result, day, more)

    yield from each_day(context, of_day)


@dg.asset_check(
    asset=asset_key(GAPS_TABLE),
    name="nothing_missing",
    description="No gap is open, whatever its day. Those between recordings are not counted.",
    blocking=False,
    op_tags={"dagster/priority": "-2"},
)
def nothing_missing(lake: LakeResource, duckdb: DuckDBResource) -> dg.AssetCheckResult:
    """Warns, and names the first gaps; `k2 repair` fetches them."""
    opened = lake.open()
    engine = engine_for(opened, duckdb)
    found = open_gaps(recorded_gaps(opened, engine, EqualTo("state", State.OPEN.value)))
    first = "\n".join(described(gap) for gap in found[:SHOWN])
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "open": len(found),
            "missing_trades": sum(gap.missing for gap in found),
            **({"first": first, "next_step": "k2 repair"} if found else {}),
        },
    )


def open_gaps(recorded: list[Gap]) -> list[Gap]:
    """Those that are a loss to be made good: not those between two recordings."""
    return [g for g in recorded if g.state == State.OPEN and g.cause != Cause.UNRECORDED]


def described(gap: Gap) -> str:
    """One line for people."""
    return (
        f"{gap.exchange} {gap.symbol} {gap.first_missing_id} to {gap.last_missing_id} "
        f"({gap.missing} trades, {gap.cause}) between {gap.before_at:%Y-%m-%d %H:%M:%S} "
        f"and {gap.after_at:%H:%M:%S} UTC"
    )


ASSETS = [gaps]
CHECKS = [nothing_missing]
