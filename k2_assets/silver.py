"""Silver assets: parsed trades and quotes of each exchange, and what was rejected on the way."""

from datetime import date

import dagster as dg
import pyarrow as pa
from dagster_duckdb import DuckDBResource

from k2_assets.ranges import Results, each_day
from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import Result, is_tick, table_asset, told
from k2_feeds.parsing.frames import Parsed, parse
from k2_lake.history import head_sequence
from k2_lake.letters import rejected_of_day
from k2_lake.results import StepResult
from k2_lake.silver import refine, refine_day
from k2_lake.tables import REJECTED_TABLE, bronze_name, silver_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind


def silver_asset(exchange: str, kind: Kind) -> dg.AssetsDefinition:
    """The asset ``silver/<exchange>_<kind>``.

    A tick parses the new frames of bronze, whatever day they arrived on; a run from the page
    parses its day of arrival anew.
    """

    def parse_frames(frames: pa.Table) -> Parsed:
        return parse(exchange, kind, frames)

    @table_asset(
        silver_name(exchange, kind),
        deps=[bronze_name(exchange, kind)],
        kinds={"pandera"},
        in_ranges=True,
    )
    def silver(
        context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource
    ) -> Results:
        opened = lake.open()
        engine = engine_for(opened, duckdb)

        def of_day(day: date) -> Result:
            if is_tick(context):
                result = refine(opened, engine, exchange, kind, parse_frames)
            else:
                result = refine_day(opened, engine, exchange, kind, parse_frames, day)
            return told(opened, result, day)

        yield from each_day(context, of_day)

    return silver


@table_asset(
    REJECTED_TABLE,
    deps=[silver_name(e, kind) for kind in Kind for e in EXCHANGES],
    in_ranges=True,
)
def rejected(
    context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource
) -> Results:
    """What the silver steps put aside: they write the rows, this accounts for the day."""
    opened = lake.open()
    engine = engine_for(opened, duckdb)

    def of_day(day: date) -> Result:
        reasons = rejected_of_day(opened, engine, day)
        table = opened.table(REJECTED_TABLE)
        figures = {"rejected": sum(reasons.values())}
        result = StepResult.of(table, before=head_sequence(table), changed=False, figures=figures)
        return told(opened, result, day, {"reasons": dg.MetadataValue.json(reasons)})

    yield from each_day(context, of_day)


ASSETS = [*(silver_asset(exchange, kind) for kind in Kind for exchange in EXCHANGES), rejected]
