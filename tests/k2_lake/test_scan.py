"""Which files hold the rows, and files that K2 cannot read rightly are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import FileScanTask, TableScan

from k2_lake.history import lineage
from k2_lake.locations import local_path
from k2_lake.scan import appended, of_day, planned
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import InvariantBroken
from k2_market.records import TRADE
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver

DAY = 86_400_000


def test_only_the_files_of_the_day_and_the_exchange_are_planned(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1"), Print(2, DAY, "10", "1"), Print(3, DAY, "10", "1")])
    driver.receive([Print(4, 0, "10", "1", execution="MARKET")], "binance_usdm")
    driver.tick(["binance", "binance_usdm"])
    table, day = driver.lake.table(TRADES_TABLE), DAY0.date()
    assert planned(table, TRADE.schema).rows == 4
    assert planned(table, TRADE.schema, of_day("trade_date", day)).rows == 2
    assert planned(table, TRADE.schema, of_day("trade_date", day, ["binance"])).rows == 1
    assert planned(table, TRADE.schema, of_day("trade_date", day, ["kraken"])).files == ()


def test_what_a_snapshot_added_is_told_from_what_it_kept(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(3):
        driver.receive([Print(10 * n + i, i, "10", "1") for i in range(n + 1)])
        driver.tick()
    table = driver.lake.table(TRADES_TABLE)
    newest, *older = lineage(table)
    assert appended(table, [newest], TRADE.schema).rows == 3
    both = appended(table, older, TRADE.schema)
    assert both.rows == 3
    assert (both + appended(table, [newest], TRADE.schema)).rows == 6
    assert planned(table, TRADE.schema, snapshot_id=older[-1].snapshot_id).rows == 1


def test_a_table_with_delete_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    table = driver.lake.table(TRADES_TABLE)
    [task] = table.scan().plan_files()
    deletes = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path="file:///deletes.parquet",
        file_format=FileFormat.PARQUET,
        record_count=1,
    )
    # PyIceberg writes no delete files, so the plan of another writer's table stands here.
    with_deletes = FileScanTask(task.file, delete_files={deletes})
    monkeypatch.setattr(type(table.scan()), "plan_files", lambda _: [with_deletes])
    assert issubclass(type(table.scan()), TableScan)
    with pytest.raises(InvariantBroken, match=r"gold\.trades has delete files"):
        planned(table, TRADE.schema)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("file:///lake/b.parquet", "/lake/b.parquet"),
        ("/lake/c.parquet", "/lake/c.parquet"),
        ("s3://bucket/c.parquet", None),
    ],
)
def test_a_location_is_a_path_where_it_is_local(location: str, path: str | None) -> None:
    assert local_path(location) == path


@pytest.mark.parametrize("folder", ["with space", "naïve", "a+b", "a[0]*"])
def test_a_home_of_any_name_can_be_read(tmp_path: Path, folder: str) -> None:
    driver = LakeDriver(tmp_path / folder)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    assert [r["trade_id"] for r in driver.rows(TRADES_TABLE)] == ["1"]
