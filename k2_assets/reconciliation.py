"""The asset that lays our candles beside the exchanges' own, day by day, and a check that warns."""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import groupby

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.days import day_of
from k2_assets.instruments import GROUP, REST_ENDPOINT
from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import PARTITION_TAG, Result, asset_key, in_process_job, table_asset, told
from k2_feeds.klines import ask
from k2_feeds.live.tls import from_environment as tls_from_environment
from k2_feeds.rest import RestClient
from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.quality.reconciliation import Reconciled, reconcile, symbols_of, unexplained_rows
from k2_lake.quality.reconciliation_ledger import keep, recorded
from k2_lake.scan import of_day
from k2_lake.tables import RECONCILIATION_TABLE, candle_name
from k2_market.errors import FeedError
from k2_market.klines import RECONCILIATION
from k2_market.timeframes import TIMEFRAMES, day_bounds

SHOWN = 20
# Coarser candles are checked to be made of these exactly.
FINEST = TIMEFRAMES["1m"]


def rest_client(exchange: str) -> RestClient:
    """Who asks an exchange, or the simulator of K2_REST_ENDPOINT; to be closed."""
    endpoint = os.environ.get(REST_ENDPOINT, "").strip() or None
    return RestClient(exchange, endpoint, trust=tls_from_environment(os.environ))


def compared_day(
    lake: Lake, engine: Engine, day: date, now: datetime, failed: dict[str, str]
) -> Iterator[Reconciled]:
    """Every symbol that has candles on that day, one exchange after the other.

    ``failed`` is told what was not answered, and why.
    """
    there = symbols_of(lake, engine, FINEST.name, day)
    for exchange, of_exchange in groupby(there, lambda each: each[0]):
        # One client for all: it keeps the exchange's limits.
        with rest_client(exchange) as client:
            for _, symbol in of_exchange:
                try:
                    published = ask(client, symbol, FINEST, *day_bounds(day))
                except FeedError as error:
                    failed[f"{exchange} {symbol}"] = str(error)
                    continue
                yield reconcile(lake, engine, exchange, symbol, FINEST.name, published, now)


# Beside gold: whoever materializes all of that does not mean to ask the exchanges.
@table_asset(RECONCILIATION_TABLE, deps=[candle_name(FINEST.name)], kinds={"rest"}, group=GROUP)
def reconciliation(
    context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource
) -> Result:
    """Asks each exchange for its 1m candles of the day and keeps what comparing them told."""
    opened, day, now = lake.open(), day_of(context.partition_key), datetime.now(UTC)
    engine = engine_for(opened, duckdb)
    failed: dict[str, str] = {}
    compared = list(compared_day(opened, engine, day, now, failed))
    result = keep(opened, engine, compared, now)
    for what, why in failed.items():
        context.log.warning("%s: %s", what, why)
    more = {"symbols": len(compared), "not_answered": dg.MetadataValue.json(failed)}
    return told(opened, result, day, more)


@dg.asset_check(
    asset=asset_key(RECONCILIATION_TABLE),
    name="all_windows_match",
    description="Every window of the day equals the exchange's own, but for those that our "
    "recording is known to lack.",
    blocking=False,
)
def all_windows_match(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, duckdb: DuckDBResource
) -> dg.AssetCheckResult:
    """Warns, and names the first windows with both figures."""
    opened = lake.open()
    named = context.run.tags.get(PARTITION_TAG)
    day = datetime.now(UTC).date() if named is None else day_of(named)
    rows = recorded(opened, engine_for(opened, duckdb), of_day(RECONCILIATION.day, day))
    odd = unexplained_rows(rows)
    outcomes = Counter(row["outcome"] for row in rows)
    return dg.AssetCheckResult(
        passed=not odd,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "day": day.isoformat(),
            "windows": len(rows),
            **{name: outcomes[name] for name in sorted(outcomes)},
            **({"first": "\n".join(map(described, odd[:SHOWN]))} if odd else {}),
        },
    )


def described(row: dict[str, object]) -> str:
    """One line for people."""
    return (
        f"{row['exchange']} {row['symbol']} {row['timeframe']} {row['window_start']:%Y-%m-%d %H:%M}"
        f" {row['outcome']}: {row['differing']} ours {row['ours']} theirs {row['theirs']}"
    )


RECONCILE = in_process_job(
    "reconciliation",
    dg.AssetSelection.assets(asset_key(RECONCILIATION_TABLE)),
    "A day's candles beside the exchanges' own.",
)
ASSETS = [reconciliation]
CHECKS = [all_windows_match]
