"""Gold assets: the trades and the quotes of all exchanges, each exactly once."""

from datetime import date

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.ranges import Results, each_day
from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import Result, is_tick, table_asset, told
from k2_lake.gold import merge
from k2_lake.tables import gold_name, silver_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind


def gold_asset(kind: Kind) -> dg.AssetsDefinition:
    """The asset ``gold/<kind>``: a tick adds what is new, a run from the page computes the day."""

    @table_asset(gold_name(kind), deps=[silver_name(e, kind) for e in EXCHANGES], in_ranges=True)
    def gold(
        context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource
    ) -> Results:
        opened = lake.open()
        engine = engine_for(opened, duckdb)

        def of_day(day: date) -> Result:
            result = merge(opened, engine, kind, day, recompute=not is_tick(context))
            return told(opened, result, day)

        yield from each_day(context, of_day)

    return gold


ASSETS = [gold_asset(kind) for kind in Kind]
