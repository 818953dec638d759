"""A table is as late as the oldest thing that it lacks; where nothing waits, it is not late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k2_lake.gold import merge
from k2_lake.quality.freshness import SLO_S, Freshness, freshness
from k2_lake.silver import refine
from k2_lake.tables import TABLES, bronze_name, silver_name
from k2_market.kinds import Kind
from tests.frames import DAY0, Print, micros, prints_table
from tests.lakes import LakeDriver, parser

BRONZE, SILVER = bronze_name("binance", Kind.TRADES), silver_name("binance", Kind.TRADES)
GOLD, MINUTES, DAYS = "gold.trades", "gold.ohlcv_1m", "gold.ohlcv_1d"
CHAIN = [BRONZE, SILVER, GOLD, MINUTES, DAYS]
NOW = datetime.now(UTC).replace(microsecond=0)


def lags(driver: LakeDriver, in_kafka: dict[str, datetime] | None = None) -> list[float]:
    found = {s.table: s for s in freshness(driver.lake.existing, in_kafka or {}, NOW)}
    return [found[name].lag_s for name in CHAIN]


def live(seconds_ago: int, number: int) -> Print:
    """A trade received just now, of an old day: its commit is not of long ago."""
    at = NOW - timedelta(seconds=seconds_ago)
    received_ms = (micros(at) - micros(DAY0)) // 1000
    return Print(number, number, "1", "1", received_ms=received_ms)


@pytest.fixture
def driver(tmp_path: Path) -> LakeDriver:
    return LakeDriver(tmp_path)


def receive(driver: LakeDriver, prints: list[Print], seconds_ago: int) -> None:
    """They reach Kafka, and bronze, that long ago."""
    arrived = NOW - timedelta(seconds=seconds_ago)
    driver.receive_frames(prints_table(prints, driver.next_offset(), arrived=arrived))


def test_every_table_that_follows_a_feed_has_an_slo_and_nothing_waits_in_an_empty_lake(
    driver: LakeDriver,
) -> None:
    fed = [n for n, t in TABLES.items() if t.made_from or n.startswith("bronze.")]
    assert set(SLO_S) == set(fed) - {"silver.rejected"} - OTHERS
    assert (SLO_S[BRONZE], SLO_S[GOLD], SLO_S[MINUTES]) == (30, 60, 60)
    states = freshness(driver.lake.existing, {}, NOW)
    assert {(s.lag_s, s.waiting_since, s.late) for s in states} == {(0.0, None, False)}


# Made once a day, or when somebody asks.
OTHERS = {n for n in ("gold.day_condition", "gold.reconciliation") if n in TABLES}


def test_what_waits_in_kafka_makes_everything_below_it_late(driver: LakeDriver) -> None:
    assert lags(driver, {BRONZE: NOW - timedelta(seconds=70)}) == [70.0] * 5
    states = freshness(driver.lake.existing, {BRONZE: NOW - timedelta(seconds=31)}, NOW)
    assert {s.table for s in states if s.late} == {BRONZE}


def test_each_step_takes_the_lag_on_to_the_next_table(driver: LakeDriver) -> None:
    receive(driver, [live(40, 1), live(35, 2)], 38)
    assert lags(driver) == [0, 38, 38, 38, 38]
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    assert lags(driver) == [0, 0, 40, 40, 40]
    merge(driver.lake, driver.engine, Kind.TRADES, DAY0.date())
    assert lags(driver) == [0, 0, 0, 40, 40]
    driver.candles(DAY0.date())
    assert lags(driver) == [0] * 5


def test_the_oldest_of_what_waits_counts_and_a_silent_market_is_not_late(
    driver: LakeDriver,
) -> None:
    receive(driver, [live(50, 1)], 50)
    receive(driver, [live(20, 2)], 20)
    assert lags(driver)[1:] == [50] * 4
    driver.tick()
    assert lags(driver) == [0] * 5


def test_what_was_received_long_ago_waits_since_it_was_committed(driver: LakeDriver) -> None:
    driver.receive([Print(1, 1, "1", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    behind = lags(driver)
    assert behind[:2] == [0, 0]
    assert all(lag < 120 for lag in behind[2:])


def test_a_clock_that_was_set_back_makes_no_negative_lag(driver: LakeDriver) -> None:
    assert lags(driver, {BRONZE: NOW + timedelta(hours=1)}) == [0.0] * 5
    assert not Freshness(BRONZE, 30, 30.0, NOW).late
