"""A day of gold that Spark's workers make is DuckDB's, and they keep it to themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_lake import commit
from k2_lake.engine import Engine, Held, Input
from k2_lake.gold import merge
from k2_lake.results import StepResult
from k2_lake.scan import Files, of_day, planned
from k2_lake.spark.engine import SparkEngine
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import gold_name
from k2_market.errors import CommitConflict
from k2_market.kinds import Kind
from tests.frames import DAY0, Print
from tests.k2_lake.test_aggregates import market, receive
from tests.k2_lake.test_quotes import Best
from tests.k2_lake.test_quotes import receive as receive_quotes
from tests.lakes import LakeDriver

pytestmark = pytest.mark.spark
TODAY = DAY0.date()
DAY = 86_400_000


class Telling(SparkEngine):
    """Remembers how many rows came to this process."""

    came: tuple[int, ...] = ()

    def query(
        self, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> pa.Table:
        found = super().query(sql, inputs, schema)
        self.came += (found.num_rows,)
        return found


def trades(home: Path) -> LakeDriver:
    """Repeats, some of them late; aggregated trades whose raw ones are all, partly or not there."""
    driver = LakeDriver(home)
    all_of = market([3, 1, 4, 2, 1])
    raw = [p for a in all_of for p in a.prints]
    other = [Print(i, i * 50_000, f"{i}.00000007", "0.3", symbol="ETHUSDT") for i in range(1, 12)]
    late = [Print(**{**vars(p), "received_ms": DAY + p.trade_id}) for p in other[3:7]]
    for batch in ([*raw[:5], *other], [*all_of, *raw[5:6], *late]):
        receive(driver, batch)
        driver.tick()
    driver.receive([Print(i, i * 9_000, f"{i}.5", "1") for i in range(1, 9)], "binance_usdm")
    driver.tick(("binance", "binance_usdm"))
    return driver


def quotes(home: Path) -> LakeDriver:
    driver = LakeDriver(home, kind=Kind.QUOTES)
    told = [Best(u, u * 1_000, f"{u}.00000001", f"{u + 1}", u * 1_000) for u in (5, 1, 4, 2, 3)]
    again = [Best(**{**vars(q), "received_ms": q.received_ms - 1}) for q in told[:3]]
    frames = [(q.binance("binance_usdm"), q.received_us) for q in (*told, *again)]
    receive_quotes(driver, frames, "binance_usdm")
    driver.tick(("binance_usdm",))
    return driver


def recompute(driver: LakeDriver, engine: Engine) -> StepResult:
    return merge(driver.lake, engine, driver.kind, TODAY, recompute=True)


@pytest.mark.parametrize("filled", [trades, quotes])
def test_the_rows_files_and_figures_of_a_day_are_the_same(
    filled: Callable[[Path], LakeDriver], tmp_path: Path, spark_settings: SparkSettings
) -> None:
    driver = filled(tmp_path)
    name = gold_name(driver.kind)
    by_duckdb, expected = recompute(driver, driver.engine), driver.rows(name)
    spark = Telling(spark_settings, driver.lake)
    by_spark = recompute(driver, spark)
    assert driver.rows(name) == expected
    assert by_spark.figures == by_duckdb.figures
    assert by_spark.figures["duplicates"] > 0
    assert max(spark.came, default=0) <= 1
    for file in of_today(driver).files:
        rows = pq.ParquetFile(file.file_path.removeprefix("file://")).read()
        assert len(set(rows["exchange"].to_pylist())) == 1
        by = [(c, "ascending") for c in (*driver.kind.record.order, driver.kind.identifier)]
        assert rows == rows.sort_by(by)


def of_today(driver: LakeDriver) -> Files:
    record = driver.kind.record
    table = driver.lake.table(gold_name(driver.kind))
    return planned(table, record.schema, of_day(record.day, TODAY))


class Overtaken(SparkEngine):
    """Somebody else computes the day while it does, the first ``times`` times."""

    times = 1
    driver: LakeDriver

    def held(
        self,
        sql: str,
        inputs: Mapping[str, Input],
        schema: pa.Schema | None = None,
        order: tuple[str, ...] = (),
    ) -> Held:
        if self.times:
            self.times -= 1
            recompute(self.driver, self.driver.engine)
        return super().held(sql, inputs, schema, order)


def test_a_stale_writer_is_refused_and_takes_its_files_away(
    tmp_path: Path, spark_settings: SparkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = quotes(tmp_path)
    expected = driver.rows(gold_name(driver.kind))
    spark = Overtaken(spark_settings, driver.lake)
    spark.driver = driver
    data = tmp_path / "warehouse" / "gold" / "quotes" / "data"
    with monkeypatch.context() as patch:
        patch.setattr(commit, "ATTEMPTS", 1)
        before = set(data.rglob("*.parquet"))
        with pytest.raises(CommitConflict, match="another writer"):
            recompute(driver, spark)
    [path] = of_today(driver).paths
    assert set(data.rglob("*.parquet")) == before | {Path(path.removeprefix("file://"))}
    spark.times = 1
    assert recompute(driver, spark).figures["recomputed"] == 1
    assert driver.rows(gold_name(driver.kind)) == expected
