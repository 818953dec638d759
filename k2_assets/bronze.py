"""Bronze assets: one for each exchange and kind, filled from its raw topic."""

from datetime import date

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field

from k2_assets.ingest import drain
from k2_assets.past_day import DayMode, put_right
from k2_assets.ranges import Results, each_day
from k2_assets.resources import KafkaResource, LakeResource, engine_for
from k2_assets.tables import Result, is_tick, table_asset, told
from k2_lake.history import head_sequence
from k2_lake.results import StepResult
from k2_lake.tables import bronze_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind


class BronzeConfig(dg.Config):
    """What a run from the page, or a backfill, does with its day."""

    mode: DayMode = Field(
        default=DayMode.reconcile,
        description="reconcile: fetch what is missing and Kafka still holds, compare the rest byte "
        "by byte, never delete. replace: put what Kafka holds in the place of the day; refused "
        "unless Kafka holds the whole day and no fewer frames than the table.",
    )


def bronze_asset(exchange: str, kind: Kind) -> dg.AssetsDefinition:
    """The asset ``bronze/<exchange>_<kind>``.

    Whatever the partition, a run fetches what Kafka holds and the table lacks. A run from the page
    then also reconciles its day, or replaces it where its configuration says so.
    """
    name = bronze_name(exchange, kind)

    def of_day(
        day: date,
        context: dg.AssetExecutionContext,
        config: BronzeConfig,
        lake: LakeResource,
        kafka: KafkaResource,
        duckdb: DuckDBResource,
    ) -> Result:
        opened, settings = lake.open(), kafka.settings()
        before = head_sequence(opened.table(name))
        drained = drain(opened, settings, exchange, kind)
        offsets = {str(p): o for p, o in sorted(drained.offsets.items())}
        more = {"epoch": drained.epoch, "offsets": dg.MetadataValue.json(offsets)}
        if not is_tick(context):
            engine = engine_for(opened, duckdb)
            more |= put_right(opened, engine, settings, exchange, kind, day, config.mode)
        table = opened.table(name)
        changed, figures = head_sequence(table) > before, drained.result.figures
        result = StepResult.of(table, before=before, changed=changed, figures=figures)
        return told(opened, result, day, more)

    @table_asset(name, kinds={"kafka"}, in_ranges=True)
    def bronze(
        context: dg.AssetExecutionContext,
        config: BronzeConfig,
        lake: LakeResource,
        kafka: KafkaResource,
        duckdb: DuckDBResource,
    ) -> Results:
        yield from each_day(context, lambda d: of_day(d, context, config, lake, kafka, duckdb))

    return bronze


ASSETS = [bronze_asset(exchange, kind) for kind in Kind for exchange in EXCHANGES]
