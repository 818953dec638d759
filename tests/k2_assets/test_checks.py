"""Every blocking check fails on a lake that was damaged for it, and passes on a sound one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from k2_lake.commit import commit
from k2_lake.history import Mode
from k2_lake.quality.audit import offsets_recorded, silver_reconciled
from k2_lake.scan import planned
from k2_lake.scope import Scope
from k2_lake.silver import refine
from k2_lake.tables import (
    CONDITION_TABLE,
    GAPS_TABLE,
    MAINTENANCE_TABLE,
    RECONCILIATION_TABLE,
    TABLES,
    TRADES_TABLE,
    bronze_name,
    silver_name,
)
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, DAY0, Print, bronze_rows, prints_table
from tests.graphs import failed, materialized, run_checks, run_job, verdicts
from tests.lakes import LakeDriver, parser

Rows = list[dict[str, Any]]
TODAY = DAY0.date()
BRONZE, SILVER = bronze_name("binance", Kind.TRADES), silver_name("binance", Kind.TRADES)
PRINTS = [Print(n, n * 20_000, str(10 + n % 3), "0.5", n % 2 == 0) for n in range(30)]


def rewrite(driver: LakeDriver, name: str, change: Callable[[Rows], Rows]) -> None:
    """Change the rows of a table behind K2's back."""
    table, schema = driver.lake.table(name), TABLES[name].schema
    old = planned(table, schema)
    rows = driver.engine.query("select * from rows", {"rows": old}, schema).to_pylist()
    new = pa.Table.from_pylist(change(rows), schema=schema)
    commit(table, add=[new], remove=old.files, mode=Mode.MAINTENANCE, days=[])


def filled(home: Path) -> LakeDriver:
    driver = LakeDriver(home)
    driver.receive(PRINTS[:20])
    driver.tick()
    driver.receive(PRINTS[15:])
    driver.tick()
    return driver


def first(**changes: Any) -> Callable[[Rows], Rows]:
    """The first row with other values."""
    return lambda rows: [{**rows[0], **changes}, *rows[1:]]


def repeated(rows: Rows) -> Rows:
    return [*rows, rows[0]]


def without_a_middle_one(rows: Rows) -> Rows:
    rows = sorted(rows, key=lambda r: str(r.get("kafka_offset", r.get("window_start"))))
    return rows[:3] + rows[4:]


def elsewhere(rows: Rows) -> Rows:
    return [*rows, {**rows[0], "kafka_offset": 10_000}]


def another_id(rows: Rows) -> Rows:
    return [*rows, {**rows[0], "trade_id": "777"}]


def shifted(rows: Rows) -> Rows:
    second = timedelta(seconds=1)
    moved = {k: rows[0][k] + second for k in ("window_start", "window_end")}
    return [{**rows[0], **moved}, *rows[1:]]


DAMAGE = {
    "a frame twice": (BRONZE, repeated, "offsets_contiguous"),
    "a hole in the offsets": (BRONZE, without_a_middle_one, "offsets_contiguous"),
    "a frame beyond the record": (BRONZE, elsewhere, "offsets_recorded"),
    "a trade told twice": (SILVER, repeated, "reconciled"),
    "a trade from nowhere": (SILVER, elsewhere, "reconciled"),
    "a price of zero": (SILVER, first(price=Decimal(0)), "rules"),
    "a trade in gold twice": (TRADES_TABLE, repeated, "reconciled"),
    "a trade missing in gold": (TRADES_TABLE, without_a_middle_one, "reconciled"),
    "a trade invented in gold": (TRADES_TABLE, another_id, "reconciled"),
    "an unknown side in gold": (TRADES_TABLE, first(side="both"), "rules"),
    "a candle with high < low": ("gold.ohlcv_1m", first(high=Decimal(1)), "rules"),
    "a vwap out of range": ("gold.ohlcv_1m", first(vwap=Decimal(99)), "rules"),
    "a misaligned window": ("gold.ohlcv_1m", shifted, "rules"),
    "a window twice": ("gold.ohlcv_1m", repeated, "rules"),
    "no volume": ("gold.ohlcv_1m", first(volume=Decimal(0)), "rules"),
    "a minute missing": ("gold.ohlcv_1m", without_a_middle_one, "reconciled"),
    "5m unlike its minutes": ("gold.ohlcv_5m", first(open=Decimal(11)), "reconciled"),
    "1d with another sum": ("gold.ohlcv_1d", first(trade_count=31), "reconciled"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> LakeDriver:
    return filled(tmp_path_factory.mktemp("sound"))


def day_of_table(name: str) -> date:
    return ARRIVAL.date() if TABLES[name].record.day == "ingest_date" else TODAY


def check(driver: LakeDriver, name: str) -> Any:
    return run_checks(driver.lake.settings.home, name, day_of_table(name))


# A sound lake may lack much of a day: conditions have tests of their own.
WITHOUT_VERDICT = ("silver.rejected", CONDITION_TABLE)
WITH_ONE = (GAPS_TABLE, MAINTENANCE_TABLE, RECONCILIATION_TABLE)


@pytest.mark.parametrize("name", [n for n in TABLES if n not in WITHOUT_VERDICT])
def test_a_sound_lake_passes(sound: LakeDriver, name: str) -> None:
    result = check(sound, name)
    assert result.success
    assert len(verdicts(result)) == (1 if name in WITH_ONE else 2)
    assert failed(result) == set()


def test_missing_trades_are_a_warning_with_their_ids_and_stop_nothing(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([PRINTS[1], PRINTS[5]])
    driver.tick()
    result = run_checks(tmp_path, GAPS_TABLE, TODAY)
    assert result.success
    [warning] = result.get_asset_check_evaluations()
    assert (warning.passed, warning.severity.value) == (False, "WARN")
    assert (warning.metadata["open"].value, warning.metadata["missing_trades"].value) == (1, 3)
    assert warning.metadata["first"].value.startswith("binance BTC-USDT 2 to 4 (3 trades, ")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_lake_fails_the_check_for_it(tmp_path: Path, damage: str) -> None:
    name, change, expected = DAMAGE[damage]
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS)
    driver.tick()
    rewrite(driver, name, change)
    result = check(driver, name)
    assert not result.success
    assert f"{name} {expected}" in failed(result)


def test_a_failing_check_names_the_rule_the_row_and_the_value(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS)
    driver.tick()
    rewrite(driver, "gold.ohlcv_1m", first(vwap=Decimal(99)))
    evaluations = check(driver, "gold.ohlcv_1m").get_asset_check_evaluations()
    [rules] = [e for e in evaluations if e.check_name == "rules"]
    assert rules.metadata["failures"].value == 1
    assert "high_is_highest" in str(rules.metadata["first_failures"].value)


def test_checks_started_without_a_day_look_at_today(sound: LakeDriver) -> None:
    result = run_checks(sound.lake.settings.home, "gold.ohlcv_1m", None)
    assert result.success
    today = datetime.now(UTC).date().isoformat()
    assert {e.metadata["day"].value for e in result.get_asset_check_evaluations()} == {today}


def test_what_is_downstream_of_a_failing_check_is_not_made(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS)
    driver.tick()
    rewrite(driver, SILVER, another_id)
    rewrite(driver, SILVER, first(quantity=Decimal(0)))
    before = driver.rows("gold.ohlcv_5m")
    result = run_job(tmp_path, "trade_day", TODAY)
    assert not result.success
    assert failed(result) == {"gold.trades rules"}
    assert materialized(result) == {TRADES_TABLE}
    assert driver.rows("gold.ohlcv_5m") == before


def test_a_tick_checks_what_it_added_and_a_run_of_the_day_everything(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    rewrite(driver, TRADES_TABLE, first(side="both"))
    driver.receive([Print(30, 30 * 20_000, "10", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    ticked = run_job(tmp_path, "trade_day", TODAY, tick=True)
    assert (ticked.success, failed(ticked)) == (True, set())
    assert failed(check(driver, TRADES_TABLE)) == {"gold.trades rules"}
    anew = run_job(tmp_path, "trade_day", TODAY)
    assert (anew.success, failed(anew)) == (True, set())
    assert {r["side"] for r in driver.rows(TRADES_TABLE)} == {"buy", "sell"}


def test_offsets_that_fall_on_both_sides_of_midnight_are_no_hole(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    frames = [
        prints_table([Print(n, n, "10", "1")], n, arrived=ARRIVAL - timedelta(days=n % 2))
        for n in range(4)
    ]
    driver.receive_frames(pa.concat_tables(frames))
    assert failed(check(driver, BRONZE)) == set()


def test_a_row_of_another_writer_is_seen_by_the_next_tick(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS[:5])
    driver.tick()
    bronze, silver = Scope(BRONZE, ARRIVAL.date(), 0), Scope(SILVER, ARRIVAL.date(), 0)
    assert offsets_recorded(driver.lake, driver.engine, bronze).agrees
    assert silver_reconciled(driver.lake, driver.engine, silver, "binance", Kind.TRADES).agrees
    table = driver.lake.table(BRONZE)
    extra = bronze_rows(prints_table(PRINTS[5:7], 5))
    commit(table, add=[extra], mode=Mode.APPEND, days=[ARRIVAL.date()])
    verdict = offsets_recorded(driver.lake, driver.engine, bronze)
    assert not verdict.agrees
    assert (verdict.figures["offsets"], verdict.figures["rows"]) == (5, 7)
    told = driver.lake.table(SILVER)
    rows = planned(told, TABLES[SILVER].schema)
    again = driver.engine.query("select * from rows limit 1", {"rows": rows}, rows.schema)
    commit(told, add=[again], mode=Mode.APPEND, days=[TODAY])
    assert not silver_reconciled(driver.lake, driver.engine, silver, "binance", Kind.TRADES).agrees
