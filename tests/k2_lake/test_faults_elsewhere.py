"""A database or store that dies in the middle, a clock that jumps: nothing lost or doubled."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from k2_lake.commit import commit
from k2_lake.history import Mode, lineage
from k2_lake.scan import planned
from k2_lake.tables import GAPS_TABLE, TABLES, TRADES_TABLE, bronze_name, silver_name
from k2_market.errors import LakeUnavailable
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, DAY0, Print, bronze_rows, prints_table
from tests.lakes import LakeDriver
from tests.mortal import DistantStore, own_postgres
from tests.services import S3Server

BRONZE, SILVER = bronze_name("binance", Kind.TRADES), silver_name("binance", Kind.TRADES)
PRINTS = [Print(n, n * 900, str(n % 7 + 1), "0.5") for n in range(40)]
TABLES_OF_CHAIN = [BRONZE, SILVER, TRADES_TABLE, "gold.ohlcv_1m", "gold.ohlcv_1d", GAPS_TABLE]


def rows(driver: LakeDriver) -> dict[str, Any]:
    return {name: driver.rows(name) for name in TABLES_OF_CHAIN}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    driver = LakeDriver(tmp_path_factory.mktemp("undisturbed"))
    for part in (PRINTS[:20], PRINTS[20:]):
        driver.receive(part)
        driver.tick()
    return rows(driver)


@pytest.mark.postgres
@pytest.mark.parametrize("when", ["before the swap", "before its commit"])
def test_a_database_killed_while_it_commits_loses_and_doubles_nothing(
    tmp_path: Path, undisturbed: dict[str, Any], when: str
) -> None:
    """Its client cannot know whether the commit took place."""
    with own_postgres() as postgres:
        environment = {"K2_CATALOG_URI": postgres.uri}
        driver = LakeDriver(tmp_path, environment)
        driver.receive(PRINTS[:20])
        driver.tick()
        engine = driver.lake.catalog.engine
        moment = "before_cursor_execute" if when == "before the swap" else "commit"
        with at_the_swap(engine, moment, postgres.kill), pytest.raises(LakeUnavailable) as caught:
            driver.receive(PRINTS[20:])
        assert "bronze.binance_trades could not be written" in str(caught.value)
        assert "the next run sees it and does not repeat it" in str(caught.value)
        with pytest.raises(LakeUnavailable, match="cannot be opened"):
            LakeDriver(tmp_path, environment).next_offset()
        postgres.start()
        after = LakeDriver(tmp_path, environment)
        if after.next_offset() == 20:
            after.receive(PRINTS[20:])
        assert after.next_offset() == 40
        after.tick()
        assert rows(after) == undisturbed


@contextmanager
def at_the_swap(engine: Any, moment: str, then: Callable[[], None]) -> Iterator[None]:
    """Do that once, as the table's new metadata is about to become the table's."""
    swapping = threading.Event()

    def executing(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE iceberg_tables"):
            swapping.set()
            if moment == "before_cursor_execute":
                then()

    def committing(_connection: Any) -> None:
        if swapping.is_set():
            swapping.clear()
            then()

    event.listen(engine, "before_cursor_execute", executing)
    event.listen(engine, "commit", committing)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", executing)
        event.remove(engine, "commit", committing)


def test_a_commit_whose_answer_was_lost_is_seen_and_not_made_again(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    driver = LakeDriver(tmp_path)
    for part in (PRINTS[:20], PRINTS[20:]):
        with answer_lost(driver.lake.catalog):
            driver.receive(part)
        driver.tick()
    assert rows(driver) == undisturbed
    assert len(lineage(driver.lake.table(BRONZE))) == 2


@contextmanager
def answer_lost(catalog: Any) -> Iterator[None]:
    """The connection breaks right after the database has committed."""
    answered = catalog.commit_table

    def commit_table(*arguments: Any) -> None:
        answered(*arguments)
        raise ConnectionResetError(104, "Connection reset by peer")

    catalog.commit_table = commit_table
    try:
        yield
    finally:
        catalog.commit_table = answered


@pytest.mark.local_storage
def test_a_locked_catalog_is_told_and_the_next_run_goes_on(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    uri = f"sqlite:///{tmp_path}/catalog.db?timeout=0.2"
    driver = LakeDriver(tmp_path, {"K2_CATALOG_URI": uri})
    driver.receive(PRINTS[:20])
    driver.tick()
    blocker = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    blocker.execute("begin exclusive")
    before = set(tmp_path.rglob("*.parquet"))
    with pytest.raises(LakeUnavailable, match=r"bronze\..*database is locked\. Nothing was commit"):
        driver.receive(PRINTS[20:])
    assert set(tmp_path.rglob("*.parquet")) == before
    blocker.close()
    driver.receive(PRINTS[20:])
    driver.tick()
    assert rows(driver) == undisturbed


@pytest.mark.s3
def test_a_store_that_stops_is_told_and_the_next_run_goes_on(
    tmp_path: Path, undisturbed: dict[str, Any], s3_server: S3Server
) -> None:
    store = DistantStore(s3_server)
    driver = LakeDriver(tmp_path, _in(store.server))
    driver.receive(PRINTS[:20])
    driver.tick()
    bronze, late = driver.lake.table(BRONZE), bronze_rows(prints_table(PRINTS[20:], 20))
    store.unplug()
    with pytest.raises(LakeUnavailable, match=r"bronze\.binance_trades could not be written"):
        commit(bronze, add=[late], mode=Mode.APPEND, days=[])
    with pytest.raises(LakeUnavailable, match=r"gold\.trades cannot be opened"):
        driver.rows(TRADES_TABLE)
    store.plug()
    driver.receive(PRINTS[20:])
    driver.tick()
    assert rows(driver) == undisturbed


def _in(server: S3Server) -> dict[str, str]:
    return {**server.environment, "K2_WAREHOUSE": f"s3://{server.new_bucket()}/lake"}


@pytest.mark.s3
def test_a_missing_object_of_a_store_is_told_by_its_name(
    tmp_path: Path, s3_server: S3Server
) -> None:
    driver = LakeDriver(tmp_path, _in(s3_server))
    driver.receive(PRINTS[:20])
    driver.tick()
    table = driver.lake.table(TRADES_TABLE)
    [path] = planned(table, TABLES[TRADES_TABLE].schema).paths
    table.io.delete(path)
    with pytest.raises(LakeUnavailable, match=rf"gold\.trades: the data file {path} is missing"):
        driver.rows(TRADES_TABLE)
    driver.recompute([DAY0.date()])
    assert len(driver.rows(TRADES_TABLE)) == 20


@pytest.mark.parametrize("jump_s", [-3600, 86_400])
def test_a_clock_that_jumps_keeps_the_order_of_snapshots_and_gives_the_same_rows(
    tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS[:20])
    driver.tick()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump_s)
    driver.receive(PRINTS[20:30])
    driver.tick()
    monkeypatch.undo()
    driver.receive(PRINTS[30:])
    driver.tick()
    assert rows(driver) == undisturbed
    for name in TABLES_OF_CHAIN:
        table = driver.lake.table(name)
        times = [s.timestamp_ms for s in lineage(table)][::-1]
        assert times == sorted(set(times)), name
        logged = [entry.timestamp_ms for entry in table.metadata.snapshot_log]
        assert logged == sorted(logged), name
        assert table.metadata.last_updated_ms == times[-1]


def test_arrivals_whose_day_goes_back_and_ahead_give_the_same_trades_and_candles(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    driver = LakeDriver(tmp_path)
    midnight = ARRIVAL.replace(hour=0)
    days = [midnight, midnight - timedelta(hours=1), midnight + timedelta(days=1), midnight]
    for n, arrived in enumerate(days):
        part = PRINTS[n * 10 : n * 10 + 10]
        driver.receive_frames(prints_table(part, driver.next_offset(), arrived=arrived))
        driver.tick()
    found = rows(driver)
    assert {r["ingest_date"] for r in found[SILVER]} == {d.date() for d in days}
    for name in ("gold.ohlcv_1m", "gold.ohlcv_1d"):
        assert found[name] == undisturbed[name]
    told = [{k: v for k, v in r.items() if k != "ingest_date"} for r in found[TRADES_TABLE]]
    assert told == [
        {k: v for k, v in r.items() if k != "ingest_date"} for r in undisturbed[TRADES_TABLE]
    ]
