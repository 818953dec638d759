"""Candles against arithmetic done by hand in Python's decimals."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, localcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.tables import candle_name
from k2_market.timeframes import TIMEFRAMES
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver

DAY = 86_400_000
prices = st.decimals("0.00000001", "9999999999", places=8).map(lambda d: f"{d:f}")
quantities = st.decimals("0.00000001", "99999999", places=8).map(lambda d: f"{d:f}")


@st.composite
def markets(draw: st.DrawFn) -> list[Print]:
    """Trades with unique ids, many of them in the same millisecond."""
    n = draw(st.integers(1, 25))
    times = draw(st.lists(st.integers(0, DAY // 60 - 1), min_size=n, max_size=n))
    return [
        Print(
            trade_id=1000 + i,
            at_ms=(at // 7) * 7,
            price=draw(prices),
            quantity=draw(quantities),
            buyer_is_maker=draw(st.booleans()),
            symbol=draw(st.sampled_from(["BTCUSDT", "ETHUSDT"])),
        )
        for i, at in enumerate(sorted(times))
    ]


def by_hand(
    prints: list[Print], length: timedelta
) -> dict[tuple[str, datetime], dict[str, object]]:
    windows: dict[tuple[str, datetime], list[Print]] = defaultdict(list)
    for p in prints:
        at = DAY0 + timedelta(milliseconds=p.at_ms)
        windows[p.symbol, at - (at - datetime(1970, 1, 1, tzinfo=UTC)) % length].append(p)
    candles = {}
    with localcontext() as exact:
        exact.prec = 80
        for key, trades in windows.items():
            trades.sort(key=lambda p: p.trade_id)
            price = [Decimal(p.price) for p in trades]
            volume = sum((Decimal(p.quantity) for p in trades), Decimal(0))
            quote = sum((Decimal(p.price) * Decimal(p.quantity) for p in trades), Decimal(0))
            taken = [p for p in trades if not p.buyer_is_maker]
            candles[key] = {
                "open": price[0],
                "high": max(price),
                "low": min(price),
                "close": price[-1],
                "volume": volume,
                "quote_volume": quote,
                "taker_buy_volume": sum((Decimal(p.quantity) for p in taken), Decimal(0)),
                "taker_buy_quote_volume": sum(
                    (Decimal(p.price) * Decimal(p.quantity) for p in taken), Decimal(0)
                ),
                "vwap": (quote / volume).quantize(Decimal("1e-8"), ROUND_FLOOR),
                "trade_count": len(trades),
                "first_trade_id": str(trades[0].trade_id),
                "last_trade_id": str(trades[-1].trade_id),
            }
    return candles


@settings(max_examples=20, deadline=None)
@given(markets())
def test_candles_of_every_timeframe_equal_arithmetic_in_decimals(prints: list[Print]) -> None:
    with TemporaryDirectory() as home:
        driver = LakeDriver(Path(home))
        driver.receive(prints)
        driver.tick()
        for frame in TIMEFRAMES.values():
            expected = by_hand(prints, frame.length)
            found = {
                (str(r["symbol"]).replace("-", ""), r["window_start"]): r
                for r in driver.rows(candle_name(frame.name))
            }
            assert found.keys() == expected.keys()
            for key, candle in expected.items():
                assert {k: found[key][k] for k in candle} == candle
                assert found[key]["window_end"] == key[1] + frame.length
                assert found[key]["window_date"] == key[1].date()


@pytest.mark.parametrize(
    ("price", "quantity"),
    [("2500000000.12345678", "0.00300001"), ("0.00000001", "99999999.00000001")],
)
def test_vwap_is_exact_where_a_double_has_too_few_digits(
    tmp_path: Path, price: str, quantity: str
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, price, quantity), Print(2, 1, price, "0.00000007")])
    driver.tick()
    assert [c["vwap"] for c in driver.rows("gold.ohlcv_1d")] == [Decimal(price)]


def test_prints_that_the_exchange_leaves_out_stay_in_trades_and_out_of_candles(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(
        [
            Print(1, 0, "10", "1", execution="MARKET"),
            Print(2, 1, "99", "5", execution="INSURANCE_FUND"),
        ],
        "binance_usdm",
    )
    driver.tick(["binance_usdm"])
    assert [t["trade_conditions"] for t in driver.rows("gold.trades")] == [None, ["INSURANCE_FUND"]]
    [candle] = driver.rows("gold.ohlcv_1m")
    assert (candle["high"], candle["volume"], candle["trade_count"]) == (10, 1, 1)


@pytest.mark.any_storage
def test_a_window_holds_its_start_and_not_its_end(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(
        [Print(1, 59_999, "1", "1"), Print(2, 60_000, "2", "1"), Print(3, DAY, "3", "1")]
    )
    driver.tick()
    starts = [(c["window_start"], c["close"]) for c in driver.rows("gold.ohlcv_1m")]
    assert starts == [
        (DAY0, 1),
        (DAY0 + timedelta(minutes=1), 2),
        (DAY0 + timedelta(days=1), 3),
    ]
    assert {c["window_date"] for c in driver.rows("gold.ohlcv_1d")} == {
        date(2024, 8, 8),
        date(2024, 8, 9),
    }
