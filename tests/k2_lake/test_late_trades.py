"""Trades that come late land in their own day and window, and only what they touch is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from k2_lake.candles import build_candles
from k2_lake.catalog import Lake
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import Input
from k2_lake.gold import merge, pending_days
from k2_lake.results import StepResult
from k2_lake.scan import planned
from k2_lake.silver import refine
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_lake.windows import AT_MOST
from k2_market.kinds import Kind
from k2_market.records import CANDLE, TRADE
from k2_market.timeframes import TIMEFRAMES
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver, parser

HOUR, DAY = 3_600_000, 86_400_000
NOW = 400 * DAY


class CountingEngine(DuckDBEngine):
    """Counts the rows of the inputs that statements are given, by the name of the input."""

    def __init__(self, lake: Lake) -> None:
        super().__init__(io=lake.io)
        self.read: Counter[str] = Counter()

    def query(
        self, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> pa.Table:
        for name, value in inputs.items():
            self.read[name] += value.num_rows if isinstance(value, pa.Table) else value.rows
        return super().query(sql, inputs, schema)


def late(trade_id: int, at_ms: int, price: str = "10") -> Print:
    return Print(trade_id, at_ms, price, "1", received_ms=NOW)


def tick(driver: LakeDriver, exchange: str = "binance") -> dict[str, list[StepResult]]:
    """What each timeframe's step told, day by day."""
    refine(driver.lake, driver.engine, exchange, Kind.TRADES, parser(exchange))
    told: dict[str, list[StepResult]] = {name: [] for name in TIMEFRAMES}
    for day in sorted(pending_days(driver.lake, Kind.TRADES)):
        merge(driver.lake, driver.engine, Kind.TRADES, day)
        for name in TIMEFRAMES:
            told[name].append(build_candles(driver.lake, driver.engine, name, day))
    return told


def floors(at_ms: int) -> dict[str, tuple[str, str, datetime]]:
    """The window of each timeframe that contains that time."""
    at = DAY0 + timedelta(milliseconds=at_ms)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return {
        name: ("binance", "BTC-USDT", at - (at - epoch) % frame.length)
        for name, frame in TIMEFRAMES.items()
    }


@pytest.mark.parametrize(
    "late_by_ms", [3_000, 5 * HOUR, 399 * DAY - 7 * HOUR], ids=["seconds", "hours", "a year"]
)
def test_a_late_trade_changes_one_window_of_each_timeframe_on_its_own_day(
    tmp_path: Path, late_by_ms: int
) -> None:
    driver = LakeDriver(tmp_path)
    first = NOW - late_by_ms - late_by_ms % DAY
    others = [late(n, NOW - n * HOUR) for n in range(1, 12)]
    driver.receive([*others, late(90, NOW - late_by_ms - 30 * 60_000), late(91, first)])
    tick(driver)
    at = NOW - late_by_ms
    driver.receive([late(100, at, "17")])
    told = tick(driver)
    for name, window in floors(at).items():
        [step] = told[name]
        assert step.windows == [window]
        figures = {k: step.figures[k] for k in ("windows", "changed", "recomputed")}
        assert figures == {"windows": 1, "changed": 1, "recomputed": 0}
    candles = driver.rows("gold.ohlcv_1m")
    [candle] = [c for c in candles if c["window_start"] == floors(at)["1m"][2]]
    assert candle["high"] == 17
    ticked = {name: driver.rows(candle_name(name)) for name in TIMEFRAMES}
    for day in {c["window_date"] for c in candles}:
        driver.candles(day, recompute=True)  # type: ignore[arg-type]
    assert {name: driver.rows(candle_name(name)) for name in TIMEFRAMES} == ticked


def test_files_of_an_exchange_without_new_trades_stay_as_they_are(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for exchange in ("binance", "binance_usdm"):
        driver.receive([late(1, 0), late(2, HOUR)], exchange)
        tick(driver, exchange)

    def files() -> dict[tuple[str, str], str]:
        return {
            (name, str(f.partition[1])): f.file_path
            for name in TIMEFRAMES
            for f in planned(driver.lake.table(candle_name(name)), CANDLE.schema).files
        }

    before = files()
    driver.receive([late(3, HOUR)])
    told = tick(driver)
    changed = {key for key, path in files().items() if before[key] != path}
    assert changed == {(name, "binance") for name in TIMEFRAMES}
    assert [told[n][0].figures["candles"] for n in ("1m", "1d")] == [4, 2]


def test_a_tick_reads_what_is_near_its_windows_and_not_what_the_day_has_grown_to(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.engine = engine = CountingEngine(driver.lake)
    for hour in range(6):
        minutes = range(60)
        driver.receive([late(hour * 60 + m, hour * HOUR + m * 60_000) for m in minutes])
        tick(driver)
    trades = driver.lake.table(TRADES_TABLE)
    assert planned(trades, TRADE.schema).rows == 360
    engine.read.clear()
    driver.receive([late(9_999, 5 * HOUR + 30_500)])
    told = tick(driver)
    # Of trades: the new one, and the hour's file in which its minute is.
    assert engine.read["added"] == 1
    assert engine.read["frames"] == 1
    assert {name: told[name][0].figures["windows"] for name in TIMEFRAMES} == dict.fromkeys(
        TIMEFRAMES, 1
    )


def test_more_windows_than_a_summary_may_name_make_the_day_of_coarser_candles_whole(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([late(1, 23 * HOUR)])
    tick(driver)
    driver.receive([late(n, n * 60_000) for n in range(2, AT_MOST + 3)])
    told = tick(driver)
    figures = {name: told[name][0].figures for name in ("1m", "5m", "30m")}
    assert (figures["1m"]["changed"], figures["1m"]["recomputed"]) == (AT_MOST + 1, 0)
    assert (figures["5m"]["changed"], figures["5m"]["recomputed"]) == (41, 1)
    # What 5m then tells is exact again.
    assert (figures["30m"]["changed"], figures["30m"]["recomputed"]) == (7, 0)


def test_the_first_received_of_two_contents_of_a_trade_stays(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1", received_ms=50)])
    tick(driver)
    driver.receive([Print(1, 0, "99", "5", received_ms=60)])
    told = tick(driver)
    assert [(t["trade_id"], t["price"]) for t in driver.rows(TRADES_TABLE)] == [("1", 10)]
    assert [step.changed for step in told["1m"]] == [False]
    assert [r["price"] for r in driver.rows("silver.binance_trades")] == [10, 99]
