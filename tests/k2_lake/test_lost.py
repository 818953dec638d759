"""Commits that are gone before they were followed: ticks stop and say which days to compute."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyiceberg.table import Table

from k2_lake.candles import build_candles
from k2_lake.candles import pending_days as candles_pending
from k2_lake.gold import merge, pending_days
from k2_lake.history import Consumed, consumed, head_sequence, lineage
from k2_lake.lost import follow
from k2_lake.maintenance.expiry import expire
from k2_lake.quality.gaps import find_gaps
from k2_lake.silver import refine, refine_day
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import HistoryGone
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, DAY0, Print
from tests.lakes import LakeDriver, parser

pytestmark = pytest.mark.local_storage

BRONZE, SILVER = "bronze.binance_trades", "silver.binance_trades"
DAY, NEXT = DAY0.date(), DAY0.date() + timedelta(days=1)
TICKS = [
    [Print(1, 0, "10", "1")],
    [Print(2, 5, "12", "1"), Print(9, 9, "no price", "1")],
    [Print(5, 86_400_000, "11", "1")],
]


def receive(driver: LakeDriver, *ticks: list[Print], into_silver: bool = True) -> None:
    for prints in ticks:
        driver.receive(prints)
        if into_silver:
            into(driver)


def into(driver: LakeDriver) -> None:
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())


def into_gold(driver: LakeDriver, *days: date, recompute: bool = False) -> None:
    for day in days:
        merge(driver.lake, driver.engine, Kind.TRADES, day, recompute=recompute)


def lose_all_but_the_last(driver: LakeDriver, name: str) -> None:
    """As another tool expires."""
    table = driver.lake.table(name)
    gone = [s.snapshot_id for s in lineage(table)[1:]]
    table.maintenance.expire_snapshots().by_ids(gone).commit()


def put_back(driver: LakeDriver, table: Table) -> None:
    """As a backup of the catalog is restored, from when the table was as it is in this object."""
    database = driver.lake.settings.home / "catalog.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            "update iceberg_tables set metadata_location = ? where table_namespace || '.' || "
            "table_name = ?",
            (table.metadata_location, ".".join(table.name()[-2:])),
        )
    connection.close()


def test_gold_names_the_days_and_is_whole_once_they_are_computed(tmp_path: Path) -> None:
    driver, whole = LakeDriver(tmp_path / "one"), LakeDriver(tmp_path / "other")
    receive(driver, TICKS[0])
    into_gold(driver, DAY)
    receive(driver, *TICKS[1:])
    lose_all_but_the_last(driver, SILVER)
    told = r"silver\.binance_trades keeps no snapshot older than sequence 3, .* up to 1\. .*"
    days = r"Materialize gold\.trades of these days in the Dagster UI: 2024-08-08, 2024-08-09\."
    with pytest.raises(HistoryGone, match=told + days):
        into_gold(driver, DAY)
    with pytest.raises(HistoryGone):
        pending_days(driver.lake, Kind.TRADES)
    assert expire(driver.lake, SILVER, keep=1, young=timedelta(0)) is None
    into_gold(driver, DAY, recompute=True)
    with pytest.raises(HistoryGone, match=r"in the Dagster UI: 2024-08-09\."):
        pending_days(driver.lake, Kind.TRADES)
    into_gold(driver, NEXT, recompute=True)
    assert pending_days(driver.lake, Kind.TRADES) == {}
    assert consumed(driver.lake.table(TRADES_TABLE))[SILVER] == Consumed(3)
    receive(driver, [Print(4, 7, "10", "1")])
    into_gold(driver, *pending_days(driver.lake, Kind.TRADES))
    receive(whole, *TICKS, [Print(4, 7, "10", "1")])
    into_gold(whole, DAY, NEXT)
    assert driver.rows(TRADES_TABLE) == whole.rows(TRADES_TABLE)
    assert len(whole.rows(TRADES_TABLE)) == 4


def test_candles_and_gaps_are_whole_once_they_are_computed(tmp_path: Path) -> None:
    driver, whole = LakeDriver(tmp_path / "one"), LakeDriver(tmp_path / "other")
    for each in (driver, whole):
        for tick in TICKS:
            receive(each, tick)
            into_gold(each, DAY, NEXT)
    lose_all_but_the_last(driver, TRADES_TABLE)
    with pytest.raises(HistoryGone, match=r"Materialize gold\.ohlcv_1m of these days"):
        candles_pending(driver.lake, "1m")
    with pytest.raises(HistoryGone, match=r"Materialize gold\.gaps of these days"):
        find_gaps(driver.lake, driver.engine, DAY)
    for each in (driver, whole):
        for day in (DAY, NEXT):
            build_candles(each.lake, each.engine, "1m", day, recompute=each is driver)
            find_gaps(each.lake, each.engine, day, recompute=each is driver)
    assert candles_pending(driver.lake, "1m") == {}
    for name in ("gold.ohlcv_1m", "gold.gaps"):
        assert driver.rows(name) == whole.rows(name) != []


def test_silver_replaces_all_days_that_may_have_changed(tmp_path: Path) -> None:
    driver, whole = LakeDriver(tmp_path / "one"), LakeDriver(tmp_path / "other")
    receive(driver, TICKS[0])
    receive(driver, *TICKS[1:], into_silver=False)
    lose_all_but_the_last(driver, BRONZE)
    with pytest.raises(HistoryGone, match=r"Materialize silver\.binance_trades of .*: 2026-03-01"):
        into(driver)
    refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), ARRIVAL.date())
    receive(driver, [Print(4, 7, "10", "1")])
    receive(whole, *TICKS, [Print(4, 7, "10", "1")])
    for name in (SILVER, "silver.rejected"):
        assert driver.rows(name) == whole.rows(name) != []


def test_a_source_that_was_put_back_is_seen_and_followed_from_there(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    receive(driver, TICKS[0])
    backup = driver.lake.table(SILVER)
    receive(driver, *TICKS[1:])
    into_gold(driver, DAY, NEXT)
    put_back(driver, backup)
    with pytest.raises(HistoryGone, match=r"sequence 1, but gold\.trades has consumed it up to 3"):
        pending_days(driver.lake, Kind.TRADES)
    into_gold(driver, DAY, recompute=True)
    assert [t["trade_id"] for t in driver.rows(TRADES_TABLE)] == ["1", "5"]
    assert pending_days(driver.lake, Kind.TRADES) == {}
    assert consumed(driver.lake.table(TRADES_TABLE))[SILVER] == Consumed(1)


def test_bronze_that_was_put_back_is_parsed_anew(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    receive(driver, TICKS[0])
    backup = driver.lake.table(BRONZE)
    receive(driver, *TICKS[1:])
    put_back(driver, backup)
    assert head_sequence(driver.lake.table(BRONZE)) == 1
    with pytest.raises(HistoryGone, match=r"bronze\.binance_trades ends with sequence 1"):
        into(driver)
    refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), ARRIVAL.date())
    assert [t["trade_id"] for t in driver.rows(SILVER)] == ["1"]
    assert driver.rows("silver.rejected") == []
    receive(driver, *TICKS[1:])
    assert [t["trade_id"] for t in driver.rows(SILVER)] == ["1", "2", "5"]
    assert len(driver.rows("silver.rejected")) == 1


def test_a_source_that_was_opened_before_its_consumer_went_on_is_not_behind(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    receive(driver, TICKS[0])
    opened = driver.lake.table(SILVER)
    receive(driver, TICKS[1])
    assert follow(opened, Consumed(2), of=TRADES_TABLE, day="trade_date").changes == []
