"""A lake on PostgreSQL and S3: there Spark has the tables in a catalog of its own as well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k2_lake.maintenance.compaction import compact
from k2_lake.scan import planned
from k2_lake.spark.engine import SparkEngine
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import TRADES_TABLE
from k2_market.records import RAW_FRAME, TRADE
from tests.frames import Print
from tests.lakes import LakeDriver
from tests.storage import SERVERS

BRONZE = "bronze.binance_trades"
pytestmark = [pytest.mark.spark, pytest.mark.postgres, pytest.mark.s3]


@pytest.mark.parametrize("storage", [SERVERS], indirect=True)
def test_what_one_side_writes_the_other_reads(
    tmp_path: Path, storage: str, spark_settings: SparkSettings
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(i, i, f"{i}.00000001", "0.5") for i in range(1, 4)])
    driver.tick()
    written = driver.rows(TRADES_TABLE)
    engine = SparkEngine(spark_settings, driver.lake)
    files = {"rows": planned(driver.lake.table(TRADES_TABLE), TRADE.schema)}
    sql = "select * from {} order by kafka_offset"
    assert engine.query(sql.format("rows"), files, TRADE.schema).to_pylist() == written
    assert engine.query(sql.format("k2.gold.trades"), {}, TRADE.schema).to_pylist() == written
    engine.session.sql(
        "insert into k2.gold.trades select * from k2.gold.trades where kafka_offset = 0"
    )
    assert driver.rows(TRADES_TABLE) == [written[0], *written]
    require_upkeep(driver, engine)


def require_upkeep(driver: LakeDriver, engine: SparkEngine) -> None:
    """Iceberg's procedures find files of a store as they find those of a folder."""
    driver.receive([Print(4, 4, "4", "1")])
    rows = driver.rows(BRONZE)
    [deed] = compact(driver.lake, engine, BRONZE, quiet=timedelta(0), worth_it=2)
    assert (deed.before.files, deed.after.files, driver.rows(BRONZE)) == (2, 1, rows)
    table, old = driver.lake.table(BRONZE), datetime(2026, 1, 1, tzinfo=UTC)
    [needed] = planned(table, RAW_FRAME.schema).paths
    orphan = f"{table.location()}/data/orphan.parquet"
    with table.io.new_output(orphan).create() as stream:
        stream.write(b"nothing")
    procedures = engine.procedures()
    assert procedures is not None
    before = datetime(2026, 2, 1, tzinfo=UTC)
    assert procedures.remove(table, {needed: old, orphan: old}, before) == {orphan}
    assert not table.io.new_input(orphan).exists()
    assert driver.rows(BRONZE) == rows
