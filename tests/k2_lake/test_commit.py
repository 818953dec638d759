"""Commits are fenced: of two writers one wins, the other starts anew, and nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from k2_lake.bronze import Position, append_frames, position
from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.history import Mode, lineage
from k2_lake.scan import of_day, planned
from k2_lake.tables import TABLES, TRADES_TABLE, bronze_name
from k2_market.errors import CommitConflict, LakeUnavailable
from k2_market.kinds import Kind
from k2_market.records import TRADE
from k2_market.timeframes import TIMEFRAMES
from tests.frames import ARRIVAL, DAY0, Print, bronze_rows, prints_table
from tests.lakes import CLUSTER, LakeDriver, open_lake
from tests.services import S3Server

BRONZE = bronze_name("binance", Kind.TRADES)
DAY = 86_400_000
PRINTS = [Print(n, n * 40_000, str(n + 1), "0.5", n % 2 == 0) for n in range(12)]

catalogs = pytest.mark.parametrize(
    "catalog", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)


@pytest.fixture
def environment(catalog: str, request: pytest.FixtureRequest) -> dict[str, str]:
    if catalog == "sqlite":
        return {}
    return {"K2_CATALOG_URI": request.getfixturevalue("postgres_database")}


def _data_files(home: Path) -> set[str]:
    return {p.name for p in home.rglob("*.parquet")}


def _known_files(lake: Lake, name: str) -> set[str]:
    return {p.rsplit("/", 1)[1] for p in planned(lake.table(name), TABLES[name].schema).paths}


def test_what_needs_a_snapshot_is_not_committed_once_that_is_expired(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    for _ in range(2):
        commit(lake.table(BRONZE), mode=Mode.APPEND, days=[])
    table, other = lake.table(BRONZE), lake.table(BRONZE)
    first = lineage(table)[-1].snapshot_id
    other.maintenance.expire_snapshots().by_id(first).commit()
    with pytest.raises(CommitConflict, match=rf"snapshot {first} was expired"):
        commit(table, needs=[first], mode=Mode.RECOMPUTE, days=[])
    now = lake.table(BRONZE)
    assert len(lineage(now)) == 1
    commit(now, needs=[lineage(now)[0].snapshot_id], mode=Mode.RECOMPUTE, days=[])


@catalogs
@pytest.mark.local_storage
def test_of_two_writers_planned_on_one_head_the_second_gets_a_conflict(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    lake = open_lake(tmp_path, environment)
    ours, theirs = lake.table(BRONZE), lake.table(BRONZE)
    rows = bronze_rows(prints_table(PRINTS))
    commit(theirs, add=[rows], mode=Mode.APPEND, days=[ARRIVAL.date()])
    with pytest.raises(CommitConflict, match=r"bronze\.binance_trades: another writer"):
        commit(ours, add=[rows], mode=Mode.APPEND, days=[ARRIVAL.date()])
    assert lake.table(BRONZE).scan().count() == len(PRINTS)
    assert len(lineage(lake.table(BRONZE))) == 1
    assert _data_files(tmp_path) == _known_files(lake, BRONZE)


@pytest.mark.local_storage
def test_a_replacement_that_lost_leaves_the_winners_rows_and_no_files(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    rows = bronze_rows(prints_table(PRINTS))
    commit(lake.table(BRONZE), add=[rows[:6]], mode=Mode.APPEND, days=[])
    ours, theirs = lake.table(BRONZE), lake.table(BRONZE)
    old = planned(ours, rows.schema)
    commit(theirs, add=[rows[6:]], mode=Mode.APPEND, days=[])
    with pytest.raises(CommitConflict):
        commit(ours, add=[rows[:1]], remove=old.files, mode=Mode.RECOMPUTE, days=[])
    held = lake.table(BRONZE).scan().to_arrow()
    assert sorted(held["kafka_offset"].to_pylist()) == list(range(12))
    assert _data_files(tmp_path) == _known_files(lake, BRONZE)


@catalogs
def test_two_writers_at_once_append_every_offset_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    topic = prints_table([Print(n, n, "10", "1") for n in range(60)])
    open_lake(tmp_path, environment).table(BRONZE)

    @retry_conflicts
    def append_some(lake: Lake, at_most: int) -> bool:
        table = lake.table(BRONZE)
        at = position(table) or Position(1, CLUSTER)
        start = at.offsets.get(0, 0)
        batch = topic.slice(start, at_most)
        if batch.num_rows:
            append_frames(table, at, batch, {0: start + batch.num_rows})
        return bool(batch.num_rows)

    def work(at_most: int) -> int:
        lake, done = open_lake(tmp_path, environment), 0
        while append_some(lake, at_most):
            done += 1
        return done

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(work, [7, 5]))
    table = open_lake(tmp_path, environment).table(BRONZE)
    assert sorted(table.scan().to_arrow()["kafka_offset"].to_pylist()) == list(range(60))
    assert len(lineage(table)) == sum(done)
    assert position(table) == Position(1, CLUSTER, {0: 60})


def test_a_step_that_always_loses_gives_up_with_the_conflict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("k2_lake.commit.time.sleep", waits.append)
    tried = []

    @retry_conflicts
    def lose() -> None:
        tried.append(1)
        raise CommitConflict("t: another writer committed first")

    with pytest.raises(CommitConflict):
        lose()
    assert (len(tried), len(waits)) == (8, 7)


@pytest.mark.any_storage
def test_a_day_that_is_replaced_is_empty_in_no_snapshot(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS)
    driver.tick()
    driver.receive([Print(99, 5, "7", "1", received_ms=-10), *PRINTS])
    driver.tick()
    driver.recompute([DAY0.date()])
    for name in (TRADES_TABLE, "silver.binance_trades", "gold.ohlcv_1m", "gold.ohlcv_1d"):
        table = driver.lake.table(name)
        counts = [
            planned(table, TABLES[name].schema, snapshot_id=s.snapshot_id).rows
            for s in lineage(table)
        ]
        assert len(counts) >= 3
        assert min(counts) > 0, name


def _garbage(lake: Lake, server: str) -> None:
    for file in lake.settings.home.glob("catalog.db*"):
        file.write_bytes(b"not a database" * 1000)


def _refusing(lake: Lake, server: str) -> None:
    """As good as stopped: every session ends and no new one is let in."""
    database = lake.settings.catalog_uri.rsplit("/", 1)[1]
    connection = psycopg2.connect(server.replace("+psycopg2", ""))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"alter database {database} allow_connections false")
    cursor.execute(
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname='{database}'"
    )
    connection.close()


@pytest.fixture
def breaking(catalog: str, request: pytest.FixtureRequest) -> Callable[[Lake], None]:
    how: Callable[[Lake, str], None] = _garbage if catalog == "sqlite" else _refusing
    server = "" if catalog == "sqlite" else request.getfixturevalue("postgres_server")
    return lambda lake: how(lake, server)


@catalogs
@pytest.mark.local_storage
def test_a_catalog_that_is_down_is_told_with_the_tables_name(
    tmp_path: Path, environment: dict[str, str], breaking: Callable[[Lake], None]
) -> None:
    lake = open_lake(tmp_path, environment)
    table = lake.table(BRONZE)
    rows = bronze_rows(prints_table(PRINTS))
    breaking(lake)
    with pytest.raises(LakeUnavailable, match=r"bronze\.binance_trades could not be written"):
        commit(table, add=[rows], mode=Mode.APPEND, days=[])
    with pytest.raises(LakeUnavailable, match=r"bronze\.binance_trades cannot be opened"):
        lake.table(BRONZE)
    with pytest.raises(LakeUnavailable, match=r"the catalog cannot be opened: .* K2_CATALOG_URI"):
        open_lake(tmp_path, environment).table(BRONZE)


def _fill(driver: LakeDriver) -> dict[str, Any]:
    driver.receive(PRINTS[:8])
    driver.tick()
    late = [Print(50, -DAY, "3", "2"), *PRINTS[6:], Print(60, 1, "9", "1", received_ms=-5)]
    driver.receive(late)
    driver.tick()
    driver.recompute([DAY0.date(), DAY0.date() - timedelta(days=1)])
    return driver.everything()


@pytest.mark.postgres
@pytest.mark.s3
def test_the_chain_gives_equal_rows_on_every_catalog_and_warehouse(
    tmp_path: Path, postgres_database: str, s3_server: S3Server
) -> None:
    store = {**s3_server.environment, "K2_WAREHOUSE": f"s3://{s3_server.new_bucket()}/lake"}
    local = _fill(LakeDriver(tmp_path / "local"))
    shared = LakeDriver(tmp_path / "shared", {"K2_CATALOG_URI": postgres_database, **store})
    assert _fill(shared) == local
    files = planned(
        shared.lake.table(TRADES_TABLE), TRADE.schema, of_day("trade_date", DAY0.date())
    )
    assert {p.split(":")[0] for p in files.paths} == {"s3"}
    assert len(local[TRADES_TABLE]) == 14
    assert all(local[f"gold.ohlcv_{t}"] for t in TIMEFRAMES)
    assert not _data_files(tmp_path / "shared")
