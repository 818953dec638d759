"""Conditions of days, from frames through the whole chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from k2_lake.commit import commit
from k2_lake.history import Mode
from k2_lake.letters import Wanted
from k2_lake.maintenance.policy import Policy
from k2_lake.maintenance.retention import retain
from k2_lake.quality.day_audit import one_condition_each
from k2_lake.quality.day_condition import assess
from k2_lake.quality.day_due import due_days, first_arrival
from k2_lake.quality.day_expectation import Configured
from k2_lake.results import StepResult
from k2_lake.scan import of_day, planned
from k2_lake.scope import Scope
from k2_lake.second_parse import replay
from k2_lake.silver import refine
from k2_lake.tables import CONDITION_TABLE, TRADES_TABLE, bronze_name
from k2_market.conditions import DAY_CONDITION, Instrumented
from k2_market.errors import DayRetired
from k2_market.kinds import Kind
from tests.frames import DAY0
from tests.k2_lake.test_second_parse import refusing
from tests.k2_lake.test_second_parse import tick as parse_all_but_two
from tests.lakes import LakeDriver, parser
from tests.live_frames import Broken, beside, every_half_hour, quotes_of_a_day, receive_live

DAY = DAY0.date()
ONE = timedelta(days=1)
LATER = DAY0 + timedelta(days=1, minutes=10)
NOBODY = Configured()
BTC = Instrumented("binance", "BTC-USDT", Kind.TRADES)
ETH = Instrumented("binance", "ETH-USDT", Kind.TRADES)


@pytest.fixture
def driver(tmp_path: Path) -> LakeDriver:
    return LakeDriver(tmp_path)


def assessed(
    driver: LakeDriver, now: datetime = LATER, day: date = DAY, configured: Configured = NOBODY
) -> StepResult:
    return assess(driver.lake, driver.engine, day, now, configured)


def due(driver: LakeDriver, now: datetime = LATER, configured: Configured = NOBODY) -> list[date]:
    return list(due_days(driver.lake, driver.engine, now.date(), configured))


def told(driver: LakeDriver) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """By symbol and kind: the condition and its reasons."""
    rows: list[Any] = driver.rows(CONDITION_TABLE)
    return {(r["symbol"], r["kind"]): (r["condition"], r["reasons"]) for r in rows}


def only(driver: LakeDriver) -> dict[str, Any]:
    [row] = driver.rows(CONDITION_TABLE)
    return row


def test_a_gap_degrades_its_day_until_it_is_repaired_and_nothing_new_commits_nothing(
    driver: LakeDriver,
) -> None:
    prints = every_half_hour()
    receive_live(driver, prints[:10] + prints[12:])
    driver.tick()
    assert due(driver) == [DAY]
    first = assessed(driver)
    assert (first.changed, first.figures) == (
        True,
        {"instruments": 1, "available": 0, "degraded": 1, "missing": 0, "pending": 0},
    )
    row = only(driver)
    assert (row["condition"], row["reasons"]) == ("degraded", ["2 trades missing in 1 gap"])
    assert (row["rows"], row["gaps"], row["missing_ids"], row["connections"]) == (46, 1, 2, 1)
    assert row["longest_silence_us"] == 3 * 1_800_000_000
    assert (row["first_at"], row["last_at"]) == (
        DAY0 + timedelta(minutes=1),
        DAY0 + timedelta(hours=23, minutes=31),
    )
    assert {name for name, _ in row["snapshots"]} == {TRADES_TABLE, "gold.gaps"}

    assert due(driver) == []
    again = assessed(driver, LATER + ONE)
    assert (again.changed, again.snapshot_id) == (False, first.snapshot_id)
    assert only(driver) == row

    receive_live(driver, prints[10:12], connection=2)
    driver.tick()
    assert due(driver) == [DAY]
    assert assessed(driver).figures["available"] == 1
    row = only(driver)
    assert (row["condition"], row["reasons"], row["gaps"]) == ("available", [], 0)
    # The second connection began long before the first one ended: no disconnect.
    assert (row["connections"], row["disconnects"]) == (2, 0)


def test_a_rejected_row_counts_for_its_symbol_or_where_that_is_unreadable_for_all_of_the_exchange(
    driver: LakeDriver,
) -> None:
    btc, eth = every_half_hour(), every_half_hour("ETHUSDT")
    both = sorted(btc + eth, key=lambda p: p.at_ms)
    receive_live(driver, [*both[:5], Broken(5_000_000, "BTCUSDT"), *both[5:]])
    driver.tick()
    assessed(driver)
    assert told(driver) == {
        ("BTC-USDT", "trades"): ("degraded", ["1 row rejected"]),
        ("ETH-USDT", "trades"): ("available", []),
    }
    receive_live(driver, [Broken(6_000_000), Broken(6_000_001, "NOSUCHUSDT")], connection=1)
    driver.tick()
    assert due(driver) == [DAY]
    assessed(driver)
    assert told(driver) == {
        ("BTC-USDT", "trades"): ("degraded", ["3 rows rejected"]),
        ("ETH-USDT", "trades"): ("degraded", ["2 rows rejected"]),
    }


def test_letters_that_are_read_after_all_make_the_day_available(driver: LakeDriver) -> None:
    prints = every_half_hour()
    receive_live(driver, prints)
    parse_all_but_two(driver, refusing(parser(), {7, 8}))
    driver.gaps(DAY)
    assessed(driver)
    degraded = ("degraded", ["2 trades missing in 1 gap", "2 rows rejected"])
    assert told(driver) == {("BTC-USDT", "trades"): degraded}
    replay(driver.lake, driver.engine, Wanted(), parser)
    driver.tick()
    assert due(driver) == [DAY]
    assessed(driver)
    assert told(driver) == {("BTC-USDT", "trades"): ("available", [])}


def test_connections_that_do_not_overlap_are_disconnects_and_degrade_quotes_alone(
    driver: LakeDriver,
) -> None:
    quotes, trades, best = beside(driver), every_half_hour(), quotes_of_a_day()
    receive_live(driver, trades[:20], connection=1)
    receive_live(driver, trades[20:], connection=2)
    driver.tick()
    # The second quotes' connection replaces the first as planned; the third comes after a break,
    # and of its frames two are missing.
    receive_live(quotes, best[:20], connection=1)
    receive_live(quotes, [replace(best[19], update=1000), *best[20:40]], connection=2)
    receive_live(quotes, best[40:43], connection=3)
    receive_live(quotes, best[43:], connection=3, first_sequence=5)
    quotes.tick()
    assessed(driver)
    assert told(driver) == {
        ("BTC-USDT", "trades"): ("available", []),
        ("BTC-USDT", "quotes"): ("degraded", ["1 disconnect", "2 frames lost on our side"]),
    }
    rows: list[Any] = driver.rows(CONDITION_TABLE)
    found = {r["kind"]: (r["connections"], r["disconnects"], r["lost_frames"]) for r in rows}
    assert found == {"trades": (2, 1, 0), "quotes": (3, 1, 2)}


def test_a_quiet_symbol_is_not_disconnected_while_its_connection_is_heard(
    driver: LakeDriver,
) -> None:
    quotes, best = beside(driver), quotes_of_a_day()
    eth = quotes_of_a_day("ETHUSDT")
    # ETH falls silent early on the first connection and speaks late on the second.
    receive_live(quotes, [*eth[:3], *best[:30]], connection=1)
    receive_live(quotes, [*best[29:], *eth[40:]], connection=2)
    quotes.tick()
    assessed(driver)
    rows: list[Any] = driver.rows(CONDITION_TABLE)
    assert [(r["symbol"], r["connections"], r["disconnects"]) for r in rows] == [
        ("BTC-USDT", 2, 0),
        ("ETH-USDT", 2, 0),
    ]


def test_a_day_is_pending_until_it_is_over_and_its_tables_have_all_of_it(
    driver: LakeDriver,
) -> None:
    prints = every_half_hour()
    receive_live(driver, prints[:40])
    driver.tick()
    during = DAY0 + timedelta(hours=21)
    assessed(driver, during)
    assert told(driver) == {("BTC-USDT", "trades"): ("pending", ["the day is not over"])}
    assert due(driver, during) == []

    # The day ends; its last frames have arrived and nobody has parsed them.
    receive_live(driver, prints[40:])
    assert due(driver) == []
    assessed(driver)
    reason = "silver.binance_trades lacks frames that have arrived"
    assert told(driver)["BTC-USDT", "trades"] == ("pending", [reason, "nothing after 19:31:00"])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    assessed(driver)
    assert told(driver)["BTC-USDT", "trades"][1][0] == (
        "gold.trades lacks rows of silver.binance_trades"
    )
    driver.tick()
    assert due(driver) == [DAY]
    assessed(driver)
    assert told(driver) == {("BTC-USDT", "trades"): ("available", [])}
    assert due(driver) == []


def test_a_day_that_ended_quietly_is_looked_at_again_though_nothing_changed(
    driver: LakeDriver,
) -> None:
    receive_live(driver, every_half_hour())
    driver.tick()
    assessed(driver, DAY0 + timedelta(hours=23, minutes=55))
    assert due(driver, DAY0 + timedelta(hours=23, minutes=59)) == []
    assert due(driver) == [DAY]
    assert assessed(driver).figures["available"] == 1


def test_what_is_configured_or_was_recorded_around_a_day_and_has_no_rows_is_missing(
    driver: LakeDriver,
) -> None:
    configured = Configured({BTC, ETH}, DAY)
    receive_live(driver, every_half_hour())
    driver.tick()
    assert first_arrival(driver.lake) == DAY
    assessed(driver, configured=configured)
    assert told(driver)["ETH-USDT", "trades"] == (
        "missing",
        ["no rows, though instruments.yaml lists it"],
    )
    assert told(driver)["BTC-USDT", "trades"][0] == "available"
    # Nothing is expected of days before anything was recorded.
    assert assessed(driver, day=DAY - ONE, configured=configured).figures["instruments"] == 0

    # Nothing is recorded on the next day, and BTC again on the one after.
    receive_live(driver, every_half_hour(first_id=200, day=2))
    driver.tick()
    now = DAY0 + timedelta(days=3, hours=1)
    assert due(driver, now) == [DAY, DAY + 2 * ONE]
    assessed(driver, now, DAY)
    assessed(driver, now, DAY + 2 * ONE)
    assert due(driver, now) == [DAY + ONE]
    assessed(driver, now, DAY + ONE)
    assert due(driver, now) == []
    # Trades 49 to 199 were made somewhere between: that is told of all three days.
    lost = "151 trades missing in 1 gap"
    rows: list[Any] = driver.rows(CONDITION_TABLE)
    of_btc = [(r["condition"], r["reasons"]) for r in rows if r["symbol"] == "BTC-USDT"]
    assert of_btc == [
        ("degraded", [lost]),
        ("missing", [f"no rows, though it was recorded on {DAY} and on {DAY + 2 * ONE}", lost]),
        ("degraded", [lost]),
    ]


def test_what_ids_prove_by_the_next_day_takes_back_what_was_held_against_an_edge(
    driver: LakeDriver,
) -> None:
    receive_live(driver, every_half_hour()[:40])
    driver.tick()
    assessed(driver)
    assert told(driver)["BTC-USDT", "trades"] == ("degraded", ["nothing after 19:31:00"])
    receive_live(driver, every_half_hour(first_id=41, day=1))
    driver.tick()
    now = DAY0 + timedelta(days=2, hours=1)
    assert due(driver, now) == [DAY + ONE]
    assessed(driver, now, DAY + ONE)
    assert due(driver, now) == [DAY]
    assessed(driver, now)
    rows: list[Any] = driver.rows(CONDITION_TABLE)
    assert [r["condition"] for r in rows] == ["available", "available"]
    assert due(driver, now) == []


def test_what_retention_has_dropped_is_told_by_what_was_counted_before(
    driver: LakeDriver,
) -> None:
    quotes, best = beside(driver), quotes_of_a_day()
    receive_live(quotes, best[:20], connection=1)
    receive_live(quotes, [*best[20:], Broken(86_000_000)], connection=2)
    quotes.tick()
    receive_live(driver, every_half_hour())
    driver.tick()
    assessed(driver)
    before = driver.rows(CONDITION_TABLE)
    assert told(driver)["BTC-USDT", "quotes"][1] == ["1 row rejected", "1 disconnect"]

    dropped = [bronze_name("binance", kind) for kind in Kind]
    dropped += ["silver.binance_trades", "silver.binance_quotes", "silver.rejected"]
    _drop(driver, dropped)
    assert not assessed(driver).changed
    assert driver.rows(CONDITION_TABLE) == before
    _drop(driver, ["gold.quotes"])
    assert not assessed(driver).changed
    assert driver.rows(CONDITION_TABLE) == before
    assert one_condition_each(driver.lake, driver.engine, _scope()).agrees
    _drop(driver, [TRADES_TABLE])
    with pytest.raises(DayRetired, match=r"gold.day_condition of 2024-08-08"):
        assessed(driver)
    assert due(driver) == []
    assert one_condition_each(driver.lake, driver.engine, _scope()).agrees


def _drop(driver: LakeDriver, tables: Sequence[str]) -> None:
    policy = Policy(dict.fromkeys(tables, 1))
    aged = list(retain(driver.lake, policy, DAY + 10 * ONE, list(tables), dry_run=False))
    assert {a.table for a in aged if a.days} == set(tables)


def _scope() -> Scope:
    return Scope(CONDITION_TABLE, DAY, None)


def test_the_check_finds_an_instrument_without_a_condition_and_one_with_other_rows(
    driver: LakeDriver,
) -> None:
    prints = every_half_hour()
    receive_live(driver, prints[:40])
    driver.tick()
    assessed(driver)
    verdict = one_condition_each(driver.lake, driver.engine, _scope())
    assert (verdict.agrees, verdict.figures) == (
        True,
        {"conditions": 1, "instruments_in_gold": 1, "twice": 0, "other_than_gold": 0},
    )
    # What came since is the next computation's.
    receive_live(driver, [*prints[40:], *every_half_hour("ETHUSDT")])
    driver.tick()
    assert one_condition_each(driver.lake, driver.engine, _scope()).agrees
    assessed(driver)
    table = driver.lake.table(CONDITION_TABLE)
    files = planned(table, DAY_CONDITION.schema, of_day("day", DAY))
    rows = driver.engine.query("select * from rows", {"rows": files}, DAY_CONDITION.schema)
    commit(table, add=[rows.slice(0, 1)], mode=Mode.APPEND, days=[DAY])
    verdict = one_condition_each(driver.lake, driver.engine, _scope())
    assert (verdict.agrees, verdict.figures["twice"]) == (False, 1)


def test_conditions_follow_gold_whose_old_snapshots_are_gone(driver: LakeDriver) -> None:
    for n in range(3):
        receive_live(driver, every_half_hour(first_id=1 + 48 * n, day=n))
        driver.tick()
    gold = driver.lake.table(TRADES_TABLE)
    gold.maintenance.expire_snapshots().by_id(gold.metadata.snapshots[0].snapshot_id).commit()
    now = DAY0 + timedelta(days=3, hours=1)
    assert due(driver, now) == [DAY, DAY + ONE, DAY + 2 * ONE]
    for day in due(driver, now):
        assessed(driver, now, day)
    assert due(driver, now) == []


def test_nothing_is_due_in_an_empty_lake(driver: LakeDriver) -> None:
    assert due(driver) == []
    assert first_arrival(driver.lake) is None
    assert assessed(driver).figures["instruments"] == 0
