"""What a statement on Spark is given and gives back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.scan import planned
from k2_lake.spark.engine import SparkEngine
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import TRADES_TABLE, bronze_name
from k2_market.errors import FileBroken
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME, TRADE
from tests.frames import Print
from tests.lakes import LakeDriver, open_lake

pytestmark = pytest.mark.spark
FRAMES = bronze_name("binance", Kind.TRADES)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> LakeDriver:
    # Spark would read any of these as a pattern, or the last as a column.
    driver = LakeDriver(tmp_path_factory.mktemp("home") / "a[b]{c} *day=1")
    driver.receive([Print(i, i, f"{i}.00000001", "0.5") for i in range(1, 4)])
    driver.tick()
    return driver


@pytest.fixture
def engine(filled: LakeDriver, spark_settings: SparkSettings) -> SparkEngine:
    return SparkEngine(spark_settings, filled.lake)


def test_the_rows_of_files_come_back_as_the_schema_says(
    filled: LakeDriver, engine: SparkEngine
) -> None:
    for name, schema in ((TRADES_TABLE, TRADE.schema), (FRAMES, RAW_FRAME.schema)):
        inputs = {"rows": planned(filled.lake.table(name), schema)}
        found = engine.query("select * from rows order by kafka_offset", inputs, schema)
        assert found.schema == schema
        assert found == DuckDBEngine().query(
            "select * from rows order by kafka_offset", inputs, schema
        )
        assert found.num_rows == 3


def test_every_kind_of_value_survives_the_way_through_spark(engine: SparkEngine) -> None:
    at = datetime(1969, 12, 31, 23, 59, 59, 1, UTC)
    values = {
        "amount": pa.array([Decimal("9999999999.99999999"), None], pa.decimal128(18, 8)),
        "total": pa.array([Decimal("-0.0000000000000001"), None], pa.decimal128(38, 16)),
        "at": pa.array([at, None], pa.timestamp("us", "UTC")),
        "day": pa.array([date(2024, 2, 29), None]),
        "small": pa.array([2**31 - 1, None], pa.int32()),
        "large": pa.array([-(2**63), None], pa.int64()),
        "bytes": pa.array([b"\x00\xff", None], pa.binary()),
        "words": pa.array([["a", ""], None], pa.list_(pa.string())),
        "pairs": pa.array([[("k", "v"), ("n", None)], None], pa.map_(pa.string(), pa.string())),
    }
    table = pa.table(values)
    assert engine.query("select * from v", {"v": table}, table.schema) == table


def test_rows_behind_an_empty_chunk_are_not_lost(engine: SparkEngine) -> None:
    one, other = pa.table({"n": [1, 2]}), pa.table({"n": [3]})
    table = pa.concat_tables([one, one.slice(2), other])
    assert engine.query("select n from t order by n", {"t": table})["n"].to_pylist() == [1, 2, 3]


def test_no_rows_have_their_columns_all_the_same(engine: SparkEngine) -> None:
    found = engine.query("select * from t", {"t": TRADE.schema.empty_table()}, TRADE.schema)
    assert found == TRADE.schema.empty_table()


def test_a_cast_that_would_lose_something_raises(engine: SparkEngine) -> None:
    schema = pa.schema([pa.field("n", pa.int32())])
    with pytest.raises(pa.ArrowInvalid, match="not in range"):
        engine.query("select 2147483648 as n", {}, schema)


def test_a_statement_leaves_no_view_behind_and_threads_do_not_meet(engine: SparkEngine) -> None:
    barrier = threading.Barrier(3)

    def total(n: int) -> int:
        barrier.wait(30)
        found = engine.query("select sum(n) as n from t", {"t": pa.table({"n": [n, n]})})
        return int(found["n"][0].as_py())

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(total, [1, 2, 3])) == [2, 4, 6]
    assert engine.session.catalog.listTables() == []


def test_a_data_file_that_is_cut_short_is_named(
    tmp_path: Path, spark_settings: SparkSettings
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    files = planned(driver.lake.table(FRAMES), RAW_FRAME.schema)
    cut = Path(files.paths[0].removeprefix("file://"))
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(FileBroken, match=cut.name):
        SparkEngine(spark_settings, driver.lake).query("select * from f", {"f": files})


def test_a_column_that_a_file_should_have_and_lacks_is_an_error(
    tmp_path: Path, spark_settings: SparkSettings
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    files = planned(driver.lake.table(FRAMES), RAW_FRAME.schema)
    path = Path(files.paths[0].removeprefix("file://"))
    pq.write_table(pq.ParquetFile(path).read().drop_columns("payload"), path)
    engine = SparkEngine(spark_settings, open_lake(tmp_path))
    with pytest.raises(FileBroken, match=path.name):
        engine.query("select * from f", {"f": files})
