"""Gold assets: the trades and the quotes of all exchanges, each exactly once."""

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.days import day_of
from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import Result, is_tick, table_asset, told
from k2_lake.gold import merge
from k2_lake.tables import gold_name, silver_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind


def gold_asset(kind: Kind) -> dg.AssetsDefinition:
    """The asset ``gold/<kind>``: a tick adds what is new, a run from the page computes the day."""

    @table_asset(gold_name(kind), deps=[silver_name(e, kind) for e in EXCHANGES])
    def gold(
        context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource
    ) -> Result:
        opened, day = lake.open(), day_of(context.partition_key)
        recompute = not is_tick(context)
        result = merge(opened, engine_for(opened, duckdb), kind, day, recompute=recompute)
        return told(opened, result, day)

    return gold


ASSETS = [gold_asset(kind) for kind in Kind]
