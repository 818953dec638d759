"""Bronze assets: one for each exchange and kind, filled from its raw topic."""

import dagster as dg

from k2_assets.days import day_of
from k2_assets.ingest import drain
from k2_assets.resources import KafkaResource, LakeResource
from k2_assets.tables import Result, table_asset, told
from k2_lake.tables import bronze_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind


def bronze_asset(exchange: str, kind: Kind) -> dg.AssetsDefinition:
    """The asset ``bronze/<exchange>_<kind>``.

    Whatever the partition, a run fetches what Kafka holds and the table lacks, and deletes
    nothing: a day that is materialized again is reconciled, not replaced.
    """

    @table_asset(bronze_name(exchange, kind), kinds={"kafka"})
    def bronze(
        context: dg.AssetExecutionContext, lake: LakeResource, kafka: KafkaResource
    ) -> Result:
        opened = lake.open()
        drained = drain(opened, kafka.settings(), exchange, kind)
        offsets = {str(p): o for p, o in sorted(drained.offsets.items())}
        more = {"epoch": drained.epoch, "offsets": dg.MetadataValue.json(offsets)}
        return told(opened, drained.result, day_of(context.partition_key), more)

    return bronze


ASSETS = [bronze_asset(exchange, kind) for kind in Kind for exchange in EXCHANGES]
