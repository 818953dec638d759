"""Gold holds each trade once, of every exchange, on the day it happened."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from k2_lake import gold
from k2_lake.candles import build_candles
from k2_lake.candles import pending_days as candles_pending
from k2_lake.gold import merge, pending_days
from k2_lake.history import head_sequence
from k2_lake.scan import planned
from k2_lake.silver import refine, refine_day
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import UnknownName
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.frames import ARRIVAL, DAY0, Print
from tests.lakes import LakeDriver, parser

DAY = 86_400_000
TODAY = DAY0.date()
BEFORE = TODAY - timedelta(days=1)


def ids(driver: LakeDriver) -> list[tuple[object, object, object]]:
    return [(r["exchange"], r["symbol"], r["trade_id"]) for r in driver.rows(TRADES_TABLE)]


def test_a_late_trade_goes_to_its_own_day_and_leaves_others_alone(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(10, 0, "10", "1"), Print(8, -DAY, "8", "1")])
    driver.tick()
    driver.receive([Print(7, -DAY + 1, "7", "1", received_ms=9)])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    assert list(pending_days(driver.lake, Kind.TRADES)) == [BEFORE]
    assert not merge(driver.lake, driver.engine, Kind.TRADES, TODAY).changed
    result = merge(driver.lake, driver.engine, Kind.TRADES, BEFORE)
    assert (result.figures["incoming"], result.figures["added"]) == (1, 1)
    assert list(candles_pending(driver.lake, "1m")) == [BEFORE]
    driver.candles(BEFORE)
    [candle] = [c for c in driver.rows("gold.ohlcv_1d") if c["window_date"] == BEFORE]
    # Numeric order of ids decides, not the order of arrival.
    assert (candle["open"], candle["close"], candle["volume"]) == (7, 8, 2)
    assert pending_days(driver.lake, Kind.TRADES) == {}


def test_pending_days_name_the_change_so_that_more_work_is_told_from_the_same(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    assert pending_days(driver.lake, Kind.TRADES) == {TODAY: "silver.binance_trades@1"}
    driver.receive([Print(2, 0, "10", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    assert pending_days(driver.lake, Kind.TRADES) == {TODAY: "silver.binance_trades@2"}


def test_the_same_symbol_and_id_on_two_exchanges_are_two_trades_and_two_candles(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.receive([Print(1, 0, "20", "2", execution="MARKET")], "binance_usdm")
    driver.tick(["binance", "binance_usdm"])
    driver.receive([Print(1, 0, "10", "1"), Print(2, 1, "11", "1")])
    driver.tick(["binance", "binance_usdm"])
    assert ids(driver) == [
        ("binance", "BTC-USDT", "1"),
        ("binance", "BTC-USDT", "2"),
        ("binance_usdm", "BTC-USDT", "1"),
    ]
    assert [(c["exchange"], c["close"], c["volume"]) for c in driver.rows("gold.ohlcv_1h")] == [
        ("binance", 11, 2),
        ("binance_usdm", 20, 2),
    ]


@pytest.mark.parametrize("ranges", [64, 2])
def test_repeats_among_many_symbols_are_found_by_ranges_of_symbols_or_of_exchanges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: int
) -> None:
    monkeypatch.setattr(gold, "SYMBOL_RANGES", ranges)
    driver = LakeDriver(tmp_path)
    market = [
        Print(1000 * s + n, n * 1000, "10", "1", symbol=f"C{s}USDT")
        for s in range(5)
        for n in range(3)
    ]
    driver.receive(market)
    driver.tick()
    fresh = [Print(1000 * s + 3, 9_000, "10", "1", symbol=f"C{s}USDT") for s in range(5)]
    driver.receive([*market[::2], *fresh])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    result = merge(driver.lake, driver.engine, Kind.TRADES, TODAY)
    assert (result.figures["added"], result.figures["duplicates"]) == (5, 8)
    assert len(set(ids(driver))) == len(ids(driver)) == 20


def test_more_symbols_than_ranges_in_one_tick(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    market = [Print(n, n, "10", "1", symbol=f"C{n}USDT") for n in range(gold.SYMBOL_RANGES + 6)]
    driver.receive(market)
    driver.tick()
    driver.receive(market)
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    result = merge(driver.lake, driver.engine, Kind.TRADES, TODAY)
    assert (result.figures["added"], result.figures["duplicates"]) == (0, len(market))
    assert not result.changed


def test_trades_received_earlier_replace_later_ones_in_whichever_files_those_are(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(3):
        driver.receive([Print(10 * n + i, n * 1000, "10", "1", received_ms=99) for i in range(2)])
        driver.tick()
    files = planned(driver.lake.table(TRADES_TABLE), TRADE.schema)
    assert len(files.files) == 3
    early = [Print(i, i // 10 * 1000, "12", "1", received_ms=50) for i in (0, 20, 21)]
    driver.receive([*early, Print(10, 1000, "13", "1", received_ms=100)])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    result = merge(driver.lake, driver.engine, Kind.TRADES, TODAY)
    assert (result.figures["replaced"], result.figures["added"]) == (3, 0)
    driver.candles(TODAY)
    assert [(r["trade_id"], r["price"]) for r in driver.rows(TRADES_TABLE)] == [
        ("0", 12),
        ("1", 10),
        ("10", 10),
        ("11", 10),
        ("20", 12),
        ("21", 12),
    ]
    ticked = driver.everything()
    driver.recompute([TODAY])
    assert driver.everything() == ticked


def test_an_earlier_arrival_that_tells_another_time_empties_the_window_of_the_later_one(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1", received_ms=99), Print(2, 120_000, "10", "1")])
    driver.tick()
    driver.receive([Print(1, 60_000, "10", "1", received_ms=50)])
    driver.tick()
    minutes = [c["window_start"] for c in driver.rows("gold.ohlcv_1m")]
    assert minutes == [DAY0 + timedelta(minutes=1), DAY0 + timedelta(minutes=2)]


@pytest.mark.any_storage
def test_a_corrected_silver_day_flows_down_to_every_candle_by_ticks(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1"), Print(2, DAY, "20", "1"), Print(3, 5, "30", "1")])
    driver.tick()
    heads = {t: head_sequence(driver.lake.table(t)) for t in ("gold.ohlcv_1m", "gold.ohlcv_1d")}

    def without_the_third(frames: Any) -> Any:
        found = parser()(frames)
        keep = [i != "3" for i in found.rows["trade_id"].to_pylist()]
        return _Reduced(found, keep)

    parse = without_the_third
    refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parse, ARRIVAL.date())
    assert sorted(pending_days(driver.lake, Kind.TRADES)) == [TODAY, TODAY + timedelta(days=1)]
    for day in sorted(pending_days(driver.lake, Kind.TRADES)):
        assert merge(driver.lake, driver.engine, Kind.TRADES, day).figures["recomputed"] == 1
        driver.candles(day)
    assert [i for _, _, i in ids(driver)] == ["1", "2"]
    assert [(c["close"], c["volume"]) for c in driver.rows("gold.ohlcv_1d")] == [(10, 1), (20, 1)]
    assert all(head_sequence(driver.lake.table(t)) > was for t, was in heads.items())
    assert pending_days(driver.lake, Kind.TRADES) == {}
    assert all(candles_pending(driver.lake, t) == {} for t in ("1m", "5m", "30m", "1h", "1d"))


class _Reduced:
    """A parse that takes one trade for a control frame."""

    def __init__(self, found: Any, keep: list[bool]) -> None:
        self.rows = found.rows.filter(keep)
        self.rejected, self.other = found.rejected, found.other
        self.control = found.control + keep.count(False)


def test_a_day_whose_trades_are_all_gone_ends_up_empty_everywhere(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()

    def nothing(frames: Any) -> Any:
        found = parser()(frames)
        return _Reduced(found, [False] * found.rows.num_rows)

    parse = nothing
    refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parse, ARRIVAL.date())
    merge(driver.lake, driver.engine, Kind.TRADES, TODAY)
    driver.candles(TODAY)
    assert {n: len(rows) for n, rows in driver.everything().items() if rows} == {
        "bronze.binance_trades": 1
    }


def test_an_unknown_timeframe_is_refused(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    with pytest.raises(UnknownName, match="unknown timeframe '2m'"):
        build_candles(driver.lake, driver.engine, "2m", TODAY)
