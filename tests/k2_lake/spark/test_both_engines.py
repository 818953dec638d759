"""Either engine makes the same rows from the same frames, digit for digit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

import pytest

from k2_feeds.tapes import read_tape
from k2_lake.gold import merge, pending_days
from k2_lake.silver import refine
from k2_lake.spark.settings import SparkSettings
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, DAY0, Print, frame_table, micros
from tests.lakes import LakeDriver, parser
from tests.spark import on_spark

pytestmark = pytest.mark.spark
DAY = 86_400_000

# Three days: many trades of one millisecond, sums with sixteen digits behind the point, a price as
# high as a column takes, trades that no candle counts.
DAYS = [
    [
        Print(
            100 * day + i,
            day * DAY + (i * 7_717_171) % DAY // 10_000 * 10_000,
            f"{(i * 7919 + day) % 9973}.{i * 12_345_679 % 10**8:08d}",
            f"{i % 5}.{(i * 98_765_431 + 1) % 10**8:08d}",
            buyer_is_maker=i % 3 == 0,
            symbol="ETHUSDT" if i % 4 == 0 else "BTCUSDT",
            execution="INSURANCE_FUND" if i % 11 == 0 else "MARKET",
        )
        for i in range(1, 25)
    ]
    for day in range(3)
]
HIGH = Print(9001, 5, "9999999999", "99999999.99999999", symbol="XRPUSDT")
REFUSED = Print(9002, 6, "0", "1", symbol="XRPUSDT")


def late(prints: Sequence[Print], by_days: int) -> list[Print]:
    """The same trades received later, and one that had not come yet."""
    first = prints[0]
    at = first.at_ms + by_days * DAY
    unseen = Print(first.trade_id + 90, first.at_ms + 1, "77.5", "0.00000001", received_ms=at)
    again = [Print(**{**vars(p), "received_ms": at + p.trade_id}) for p in prints[:6]]
    return [unseen, *again]


def arrivals() -> list[list[Print]]:
    """What comes, tick by tick: each day, with repeats within it, and some of it again, late."""
    return [
        [*DAYS[0], HIGH, REFUSED, *DAYS[0][:5]],
        [*DAYS[1], *late(DAYS[0], 1)],
        [*DAYS[2], *late(DAYS[1], 1)],
    ]


def tick(driver: LakeDriver, exchange: str = "binance") -> None:
    """From the frames to the candles of five timeframes, for every day that is touched."""
    refine(driver.lake, driver.engine, exchange, Kind.TRADES, parser(exchange))
    for day in sorted(pending_days(driver.lake, Kind.TRADES)):
        merge(driver.lake, driver.engine, Kind.TRADES, day)
        driver.candles(day)


def everything(home: Path) -> dict[str, list[dict[str, object]]]:
    """All rows of every table, read by the same engine for all."""
    return LakeDriver(home).everything()


@pytest.fixture(scope="module")
def by_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("duckdb")
    driver = LakeDriver(home)
    for arrived in arrivals():
        driver.receive(arrived)
        tick(driver)
    return home


def test_engines_that_take_turns_in_one_lake_make_what_one_would(
    tmp_path: Path, by_duckdb: Path, spark_settings: SparkSettings
) -> None:
    for n, arrived in enumerate(arrivals()):
        driver = LakeDriver(tmp_path)
        driver.receive(arrived)
        tick(on_spark(driver, spark_settings) if n % 2 else driver)
    found = everything(tmp_path)
    assert found == everything(by_duckdb)
    assert all(
        found[t] for t in ("gold.trades", "gold.ohlcv_1m", "gold.ohlcv_1d", "silver.rejected")
    )


def test_a_day_computed_anew_on_spark_is_as_duckdb_computed_it_anew(
    by_duckdb: Path, spark_settings: SparkSettings
) -> None:
    LakeDriver(by_duckdb).recompute([DAY0.date()])
    before = everything(by_duckdb)
    on_spark(LakeDriver(by_duckdb), spark_settings).recompute([DAY0.date()])
    assert everything(by_duckdb) == before


@pytest.mark.data
def test_recorded_frames_become_the_same_rows(
    tmp_path: Path, shared_data: Path, spark_settings: SparkSettings
) -> None:
    path = shared_data / "binance_usdm" / "usdm_btcusdt_20240808.gz"
    frames = chain.from_iterable(read_tape(path, micros(ARRIVAL)))
    told = [(f.payload, f.received_at_us) for f in islice(frames, 2_000)]
    rows = frame_table(told, exchange="binance_usdm")
    drivers = LakeDriver(tmp_path / "one"), LakeDriver(tmp_path / "other")
    on_spark(drivers[1], spark_settings)
    for driver in drivers:
        driver.receive_frames(rows, "binance_usdm")
        tick(driver, "binance_usdm")
    found = everything(tmp_path / "other")
    assert found == everything(tmp_path / "one")
    assert found["gold.trades"]
    assert found["gold.ohlcv_1d"]
