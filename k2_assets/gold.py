"""The gold asset: the trades of all exchanges, each exactly once."""

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.days import day_of
from k2_assets.resources import LakeResource, duckdb_engine
from k2_assets.tables import Result, is_tick, table_asset, told
from k2_lake.gold import merge_trades
from k2_lake.tables import TRADES_TABLE, silver_name
from k2_market.exchanges import EXCHANGES


@table_asset(TRADES_TABLE, deps=[silver_name(e) for e in EXCHANGES])
def trades(context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource) -> Result:
    """A tick adds what is new to the trade day; a run from the page computes the day."""
    opened, day = lake.open(), day_of(context.partition_key)
    result = merge_trades(
        opened, duckdb_engine(opened, duckdb), day, recompute=not is_tick(context)
    )
    return told(opened, result, day)


ASSETS = [trades]
