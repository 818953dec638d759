"""One name over all tables: what bears it belongs together, and expiry leaves it alone."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier, Thread

import pytest

from k2_lake.candles import build_candles
from k2_lake.catalog import Lake
from k2_lake.commit import retry_conflicts
from k2_lake.engine import Input
from k2_lake.gold import merge, pending_days
from k2_lake.history import head_sequence, lineage
from k2_lake.read_sql import read_sql
from k2_lake.scan import Files, planned
from k2_lake.silver import refine
from k2_lake.tables import TABLES, TRADES_TABLE, candle_name, table_def
from k2_lake.travel.as_of import AsOf, tags
from k2_lake.travel.snapshots import kept_snapshots, written_table
from k2_lake.travel.tags import _MADE, Chosen, choose, remove_tag, set_tag
from k2_market.errors import UnknownName, UsageError
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver, parser
from tests.storage import environment

DAY = 86_400_000
DAYS = [DAY0.date() + timedelta(days=n) for n in range(2)]
# Rows of gold, silver and 1m candles that have no origin in silver, bronze and gold.
_FROM_NOWHERE = """
select (select count(*) from gold t where not exists (
    select 1 from silver s where s.kafka_offset = t.kafka_offset))
  + (select count(*) from silver s where not exists (
    select 1 from bronze b where b.kafka_offset = s.kafka_offset))
  + (select count(*) from candles c where c.volume > (
    select coalesce(sum(quantity), 0) from gold t
    where t.timestamp >= c.window_start and t.timestamp < c.window_end)) as n
"""
_NAMES = {
    "gold": TRADES_TABLE,
    "silver": "silver.binance_trades",
    "bronze": "bronze.binance_trades",
    "candles": candle_name("1m"),
}


def value(lake: Lake, sql: str, tag: str) -> object:
    with read_sql(lake, sql, as_of=AsOf.parse(tag)) as result:
        [row] = [row for batch in result.batches for row in batch.to_pylist()]
    found: object = row["n"]
    return found


def files(driver: LakeDriver, chosen: dict[str, Chosen], name: str) -> Files:
    snapshot = chosen[name].snapshot.snapshot_id
    return planned(driver.lake.table(name), table_def(name).schema, snapshot_id=snapshot)


def from_nowhere(driver: LakeDriver, chosen: dict[str, Chosen]) -> int:
    inputs: dict[str, Input] = {k: files(driver, chosen, name) for k, name in _NAMES.items()}
    [row] = driver.engine.query(_FROM_NOWHERE, inputs).to_pylist()
    found: int = row["n"]
    return found


def volume(driver: LakeDriver, chosen: dict[str, Chosen], name: str) -> Decimal:
    column = "quantity" if name == TRADES_TABLE else "volume"
    sql = f"select coalesce(sum({column}), 0) as n from rows"
    [row] = driver.engine.query(sql, {"rows": files(driver, chosen, name)}).to_pylist()
    return Decimal(row["n"])


def step_of(driver: LakeDriver, name: str, n: int) -> None:
    """One step of the chain, which may leave the tables after it behind."""
    if name == "receive":
        driver.receive([Print(n, n % 2 * DAY + n * 100, "10", "1")])
    elif name == "refine":
        refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    elif name == "merge":
        for day in sorted(pending_days(driver.lake, Kind.TRADES))[:1]:
            merge(driver.lake, driver.engine, Kind.TRADES, day)
    else:
        for day in DAYS[: 1 + n % 2]:
            build_candles(driver.lake, driver.engine, name, day)


STEPS = ["receive", "refine", "merge", "merge", *TIMEFRAMES]


def test_nothing_chosen_comes_from_rows_that_are_not(driver: LakeDriver) -> None:
    rng = random.Random(2)
    for n in range(10, 30):
        step_of(driver, rng.choice(STEPS), n)
        chosen = {c.table: c for c in choose(driver.lake)}
        assert from_nowhere(driver, chosen) == 0
        candles = {t: volume(driver, chosen, candle_name(t)) for t in TIMEFRAMES}
        assert list(candles.values()) == sorted(candles.values(), reverse=True)
        if not chosen[TRADES_TABLE].outstanding:
            assert candles["1m"] == volume(driver, chosen, TRADES_TABLE)


@pytest.fixture
def driver(tmp_path: Path) -> LakeDriver:
    made = LakeDriver(tmp_path)
    made.receive([Print(1, 0, "10", "1")])
    made.tick()
    return made


def test_candles_that_lag_take_the_trades_they_were_made_from(driver: LakeDriver) -> None:
    gold_then = head_sequence(driver.lake.table(TRADES_TABLE))
    driver.receive([Print(2, 1000, "11", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    merge(driver.lake, driver.engine, Kind.TRADES, DAYS[0])
    build_candles(driver.lake, driver.engine, "1m", DAYS[0])
    chosen = {c.table: c for c in set_tag(driver.lake, "mid-tick")}
    trades, minutes = chosen[TRADES_TABLE], chosen[candle_name("1m")]
    assert (trades.snapshot.sequence_number, trades.behind, trades.outstanding) == (
        gold_then,
        1,
        (),
    )
    assert (minutes.behind, chosen["bronze.binance_trades"].behind) == (1, 1)
    assert {c.table for c in chosen.values() if c.behind == 0} == {
        "gold.gaps",
        *(candle_name(t) for t in TIMEFRAMES if t != "1m"),
    }
    # Of tables named alone there is nobody to wait for; of two, the one waits for the other.
    [alone] = choose(driver.lake, [TRADES_TABLE])
    assert (alone.behind, alone.outstanding) == (0, ())
    both = {c.table: c.behind for c in choose(driver.lake, [TRADES_TABLE, candle_name("1m")])}
    assert both == {TRADES_TABLE: 0, candle_name("1m"): 0}
    both = {c.table: c.behind for c in choose(driver.lake, [TRADES_TABLE, candle_name("1h")])}
    assert both == {TRADES_TABLE: 1, candle_name("1h"): 0}


def test_a_day_that_others_have_overtaken_is_told_as_outstanding(driver: LakeDriver) -> None:
    driver.receive([Print(2, 1000, "11", "1"), Print(3, DAY, "11", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    merge(driver.lake, driver.engine, Kind.TRADES, DAYS[0])
    merge(driver.lake, driver.engine, Kind.TRADES, DAYS[1])
    driver.candles(DAYS[1])
    chosen = {c.table: c for c in set_tag(driver.lake, "t")}
    assert (chosen[TRADES_TABLE].behind, chosen[TRADES_TABLE].outstanding) == (0, (DAYS[0],))
    assert from_nowhere(driver, chosen) == 0


def test_a_tag_is_listed_survives_expiry_does_not_move_and_can_be_taken_off(
    driver: LakeDriver,
) -> None:
    first = {c.table: c.snapshot.snapshot_id for c in set_tag(driver.lake, "v1")}
    assert set_tag(driver.lake, "v1")[0].snapshot.snapshot_id == first["bronze.binance_trades"]
    driver.receive([Print(2, 1000, "11", "1")])
    driver.tick()
    with pytest.raises(UsageError, match=r"has the tag 'v1' already, on snapshot \d+, and a tag d"):
        set_tag(driver.lake, "v1")
    set_tag(driver.lake, "v2", [TRADES_TABLE])
    gold = driver.lake.table(TRADES_TABLE)
    driver.receive([Print(3, 2000, "11", "1")])
    driver.tick()
    gold = driver.lake.table(TRADES_TABLE)
    gold.maintenance.expire_snapshots().older_than(datetime.now(UTC)).commit()
    gold.refresh()
    kept = kept_snapshots(gold)
    assert [(k.tags, k.rows, k.in_lineage) for k in kept] == [
        ((), 3, True),
        (("v2",), 2, True),
        (("v1",), 1, True),
    ]
    assert value(driver.lake, "select count(*) as n from gold.trades", "v1") == 1
    with pytest.raises(UnknownName, match=r"Known: v1, v2\."):
        remove_tag(driver.lake, "v3")
    assert remove_tag(driver.lake, "v2") == [TRADES_TABLE]
    assert set(remove_tag(driver.lake, "v1")) == set(first)
    assert not any(tags(driver.lake.table(name)) for name in first)


def test_what_only_a_tag_keeps_is_out_of_the_lineage(driver: LakeDriver) -> None:
    set_tag(driver.lake, "v1")
    for n in (2, 3):
        driver.receive([Print(n, n * 1000, "11", "1")])
        driver.tick()
    gold = driver.lake.table(TRADES_TABLE)
    gold.maintenance.expire_snapshots().by_id(lineage(gold)[1].snapshot_id).commit()
    assert [k.in_lineage for k in kept_snapshots(driver.lake.table(TRADES_TABLE))] == [True, False]


@pytest.mark.parametrize("name", ["", "main", "1a", "2024-01-01", "a b", "a/b", "x" * 65])
def test_a_name_that_could_be_taken_for_something_else_is_refused(
    driver: LakeDriver, name: str
) -> None:
    with pytest.raises(UsageError, match="is no name for a tag"):
        set_tag(driver.lake, name)


def test_an_unknown_table_and_a_lake_without_rows_are_refused(tmp_path: Path) -> None:
    lake = LakeDriver(tmp_path).lake
    with pytest.raises(UnknownName, match=r"unknown table 'gold\.x'"):
        set_tag(lake, "t", ["gold.x"])
    with pytest.raises(UsageError, match="none of these tables was ever written"):
        set_tag(lake, "t")
    with pytest.raises(UsageError, match=r"gold\.trades was never written here"):
        written_table(lake, TRADES_TABLE)


def test_a_tag_and_a_commit_at_the_same_time_both_take_place(driver: LakeDriver) -> None:
    race(driver, environment(driver.lake.settings.home))


@pytest.mark.postgres
def test_the_same_in_postgresql(tmp_path: Path, postgres_database: str) -> None:
    env = {"K2_CATALOG_URI": postgres_database}
    driver = LakeDriver(tmp_path, env)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    race(driver, env)


def race(driver: LakeDriver, env: Mapping[str, str]) -> None:
    """Frames arrive in bronze while every table is tagged, again and again."""
    together = Barrier(2, timeout=60)
    other = LakeDriver(driver.lake.settings.home, env)

    @retry_conflicts
    def receive(n: int) -> None:
        other.receive([Print(n, n * 1000, "10", "1")])

    def arriving() -> None:
        for n in range(100, 104):
            together.wait()
            receive(n)

    thread = Thread(target=arriving)
    thread.start()
    for n in range(4):
        together.wait()
        set_tag(driver.lake, f"t{n}", ["bronze.binance_trades"])
    thread.join()
    bronze = driver.lake.table("bronze.binance_trades")
    assert set(tags(bronze)) == {"t0", "t1", "t2", "t3"}
    assert len(driver.rows("bronze.binance_trades")) == 5


def test_every_table_that_is_made_of_others_takes_part() -> None:
    assert set(_MADE) <= set(TABLES)
    for place, name in enumerate(_MADE):
        assert not set(TABLES[name].made_from) & set(_MADE[:place]), name
