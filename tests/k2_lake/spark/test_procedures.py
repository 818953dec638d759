"""Upkeep by Iceberg's procedures: no table and no engine notices anything of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_lake.engine import Engine, Input, Procedures
from k2_lake.gold import merge, pending_days
from k2_lake.history import Mode, change_of, consumed, head_sequence, lineage, progress
from k2_lake.maintenance import expiry
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import expire
from k2_lake.maintenance.garbage import GRACE, reached, stored_files, sweep
from k2_lake.maintenance.ledger import recorded
from k2_lake.scan import Files, planned
from k2_lake.silver import refine, refine_day
from k2_lake.spark import draft
from k2_lake.spark.engine import SparkEngine
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import GAPS_TABLE, TABLES, TRADES_TABLE, candle_name
from k2_lake.travel.as_of import AsOf
from k2_lake.travel.origins import Origin, origins
from k2_lake.travel.rollback import roll_back
from k2_lake.travel.snapshots import kept_snapshots
from k2_market.kinds import Kind
from k2_market.maintenance import Deed
from k2_market.timeframes import TIMEFRAMES
from tests.frames import ARRIVAL, DAY0, Print
from tests.lakes import LakeDriver, parser

pytestmark = [pytest.mark.spark, pytest.mark.postgres]

BRONZE, SILVER = "bronze.binance_trades", "silver.binance_trades"
DAY, NOW = DAY0.date(), timedelta(0)
COMPACTED = (BRONZE, SILVER, TRADES_TABLE)
WRITTEN = (*COMPACTED, GAPS_TABLE, *map(candle_name, TIMEFRAMES))


def arrive(driver: LakeDriver, n: int) -> None:
    """Three trades of two symbols, of which one comes in every tick, through to the candles."""
    driver.receive(
        [
            Print(10 - n, 1000 * n, "10.00000001", "1"),
            Print(n, 61_000 + n, f"{n}.5", "0.00000001", symbol="ETHUSDT"),
            Print(77, 5, "3", "3"),
        ]
    )
    driver.tick()


@pytest.fixture
def driver(tmp_path: Path, postgres_database: str) -> LakeDriver:
    return LakeDriver(tmp_path / "kept", {"K2_CATALOG_URI": postgres_database})


@pytest.fixture
def spark(driver: LakeDriver, spark_settings: SparkSettings) -> SparkEngine:
    return SparkEngine(spark_settings, driver.lake)


@pytest.fixture
def filled(driver: LakeDriver) -> LakeDriver:
    """Four ticks of silver, followed by gold at the end."""
    for n in range(4):
        driver.receive([Print(n, n, "10", "1")])
        refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    merge(driver.lake, driver.engine, Kind.TRADES, DAY)
    return driver


def compacted(
    driver: LakeDriver, engine: Engine, name: str = SILVER, worth_it: int = 4
) -> list[Deed]:
    return list(compact(driver.lake, engine, name, quiet=NOW, worth_it=worth_it))


def data_files(driver: LakeDriver) -> set[str]:
    files = stored_files(driver.lake.table(SILVER))
    return {Path(f.path).name for f in files if f.path.endswith(".parquet")}


def reached_files(driver: LakeDriver) -> set[str]:
    paths = reached(driver.lake.table(SILVER))
    return {Path(p).name for p in paths if p.endswith(".parquet")}


def snapshots(driver: LakeDriver, name: str) -> list[int]:
    return [s.sequence_number or 0 for s in lineage(driver.lake.table(name))][::-1]


@pytest.mark.timeout(600)
def test_a_lake_that_spark_keeps_in_order_goes_on_as_any_other(
    tmp_path: Path, driver: LakeDriver, spark: SparkEngine
) -> None:
    plain = LakeDriver(tmp_path / "plain")
    for n in (1, 2):
        arrive(driver, n)
        arrive(plain, n)
    with driver.lake.table(TRADES_TABLE).transaction() as transaction:
        transaction.set_properties({"write.parquet.row-group-limit": "3"})
    before = {name: progress(driver.lake.table(name)) for name in COMPACTED}

    for name in COMPACTED:
        [deed] = compacted(driver, spark, name, worth_it=2)
        assert (deed.before.files, deed.after.files) == (2, 1)
        assert deed.before.rows == deed.after.rows
        table = driver.lake.table(name)
        assert change_of(lineage(table)[0]).mode is Mode.MAINTENANCE
        assert progress(table) == before[name]
        assert snapshots(driver, name) == [1, 2, 3]
        assert compacted(driver, spark, name, worth_it=2) == []
        require_order_within(driver, name)
    assert row_groups(driver, TRADES_TABLE) == [3, 2]
    assert driver.lake.catalog.list_tables(draft.NAMESPACE) == []
    assert everything(driver) == everything(plain)
    assert not refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser()).changed
    assert not pending_days(driver.lake, Kind.TRADES)

    for engine in (driver.engine, spark):
        brought = origins_of_trades(driver, engine)
        assert [(o.sequence, o.rows) for o in brought] == [(1, 3), (2, 2)]
    for it in (driver, plain):
        arrive(it, 3)
    assert everything(driver) == everything(plain)
    to = str(kept_snapshots(driver.lake.table(TRADES_TABLE))[-2].snapshot_id)
    roll_back(driver.lake, spark, TRADES_TABLE, AsOf.parse(to), lambda plan: None)
    driver.tick()
    assert everything(driver) == everything(plain)


def origins_of_trades(driver: LakeDriver, engine: Engine) -> list[Origin]:
    table, schema = driver.lake.table(TRADES_TABLE), TABLES[TRADES_TABLE].schema
    rows = driver.engine.query("select * from t", {"t": planned(table, schema)}, schema)
    return origins(engine, table, lineage(table)[0], AlwaysTrue(), rows)


def everything(driver: LakeDriver) -> dict[str, list[dict[str, object]]]:
    return {name: driver.rows(name) for name in WRITTEN}


def require_order_within(driver: LakeDriver, name: str) -> None:
    [path] = planned(driver.lake.table(name), TABLES[name].schema).paths
    order = list(TABLES[name].record.order)
    rows = pq.ParquetFile(driver.lake.io.new_input(path).open()).read().select(order)
    assert rows.equals(rows.sort_by([(column, "ascending") for column in order]))


def row_groups(driver: LakeDriver, name: str) -> list[int]:
    [path] = planned(driver.lake.table(name), TABLES[name].schema).paths
    metadata = pq.ParquetFile(driver.lake.io.new_input(path).open()).metadata
    return [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]


class Meanwhile:
    """An engine beside whose procedure something else happens, once, before it has ended."""

    name = "meanwhile"

    def __init__(self, engine: Engine, happens: Callable[[], None]) -> None:
        self._engine, self._happens = engine, [happens]
        self.rewrites = 0

    def query(
        self, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> pa.Table:
        return self._engine.query(sql, inputs, schema)

    def procedures(self) -> Procedures:
        return self

    def rewritten(self, table: Table, files: Files, order: Sequence[str]) -> list[DataFile]:
        self.rewrites += 1
        done = self._of_iceberg().rewritten(table, files, order)
        while self._happens:
            self._happens.pop()()
        return done

    def expire(self, table: Table, snapshots: Sequence[int]) -> None:
        while self._happens:
            self._happens.pop()()
        self._of_iceberg().expire(table, snapshots)

    def remove(self, table: Table, files: Mapping[str, datetime], before: datetime) -> set[str]:
        return self._of_iceberg().remove(table, files, before)

    def _of_iceberg(self) -> Procedures:
        found = self._engine.procedures()
        assert found is not None
        return found


def test_what_is_committed_during_a_compaction_is_kept(
    filled: LakeDriver, spark: SparkEngine
) -> None:
    def append() -> None:
        filled.receive([Print(5, 5, "10", "1")])
        refine(filled.lake, filled.engine, "binance", Kind.TRADES, parser())

    engine = Meanwhile(spark, append)
    [deed] = compacted(filled, engine)
    assert (engine.rewrites, deed.before.rows, deed.after.rows) == (1, 4, 5)
    table = filled.lake.table(SILVER)
    assert [change_of(s).mode for s in lineage(table)[:2]] == [Mode.MAINTENANCE, Mode.APPEND]
    assert consumed(table)[BRONZE].through == head_sequence(filled.lake.table(BRONZE))
    assert [r["trade_id"] for r in filled.rows(SILVER)] == ["0", "1", "2", "3", "5"]


def test_the_files_of_a_compaction_that_was_outrun_are_removed(
    filled: LakeDriver, spark: SparkEngine
) -> None:
    before = data_files(filled)
    arrived = ARRIVAL.date()

    def recompute() -> None:
        refine_day(filled.lake, filled.engine, "binance", Kind.TRADES, parser(), arrived)

    engine = Meanwhile(spark, recompute)
    assert compacted(filled, engine) == []
    [now] = planned(filled.lake.table(SILVER), TABLES[SILVER].schema).paths
    assert engine.rewrites == 1
    assert data_files(filled) == {*before, Path(now).name}


def test_spark_expires_what_is_old_and_never_what_has_a_name(
    filled: LakeDriver, spark: SparkEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compacted(filled, spark)
    before, rows = data_files(filled), filled.rows(SILVER)
    merge(filled.lake, filled.engine, Kind.TRADES, DAY, recompute=True)
    # What is young goes by K2's own way, and its files stay.
    expire(filled.lake, SILVER, keep=4, young=NOW, procedures=spark.procedures())
    assert snapshots(filled, SILVER) == [2, 3, 4, 5]
    assert data_files(filled) == before
    monkeypatch.setattr(expiry, "GRACE", NOW)

    def named() -> None:
        table = filled.lake.table(SILVER)
        table.manage_snapshots().create_tag(lineage(table)[-1].snapshot_id, "kept").commit()

    engine = Meanwhile(spark, named)
    deed = expire(filled.lake, SILVER, keep=1, young=NOW, procedures=engine)
    assert deed is not None
    assert (deed.before.snapshots, deed.after.snapshots) == (4, 2)
    table = filled.lake.table(SILVER)
    kept = planned(
        table, TABLES[SILVER].schema, snapshot_id=table.metadata.refs["kept"].snapshot_id
    )
    assert (snapshots(filled, SILVER), kept.rows) == ([5], 2)
    assert data_files(filled) == reached_files(filled)
    assert len(reached_files(filled)) == len(before) - 2
    assert filled.rows(SILVER) == rows
    told = recorded(filled.lake).to_pylist()[0]
    assert (told["action"], told["rows_before"], told["rows_after"]) == ("expire", 4, 4)


def test_spark_deletes_garbage_that_is_old_and_nothing_else(
    filled: LakeDriver, spark: SparkEngine
) -> None:
    compacted(filled, spark)
    merge(filled.lake, filled.engine, Kind.TRADES, DAY, recompute=True)
    expire(filled.lake, SILVER, keep=1, young=NOW)
    rows, before = filled.rows(SILVER), data_files(filled)
    seen = sweep(filled.lake, SILVER, procedures=spark.procedures())
    assert seen is not None
    assert (seen.garbage, seen.deed) == ((), None)
    young = min(before - reached_files(filled))
    old = time.time() - GRACE.total_seconds() - 60
    for file in stored_files(filled.lake.table(SILVER)):
        if not file.path.endswith(young):
            os.utime(file.path, (old, old))
    done = sweep(filled.lake, SILVER, procedures=spark.procedures())
    assert done is not None
    assert done.deed is not None
    assert done.bytes == done.deed.bytes_freed > 0
    assert (done.young, len(done.garbage)) == (1, seen.young - 1)
    assert data_files(filled) == reached_files(filled) | {young}
    assert len(before) == 5
    assert filled.rows(SILVER) == rows
    arrived = sweep(filled.lake, SILVER, procedures=spark.procedures())
    assert arrived is not None
    assert (arrived.garbage, arrived.young) == ((), 1)
