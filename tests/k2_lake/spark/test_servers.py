"""A lake on PostgreSQL and S3: there Spark has the tables in a catalog of its own as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from k2_lake.scan import planned
from k2_lake.spark.engine import SparkEngine
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import TRADES_TABLE
from k2_market.records import TRADE
from tests.frames import Print
from tests.lakes import LakeDriver
from tests.storage import SERVERS

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
