"""What each exchange's way of counting and repeating becomes in gold and in the candles."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from tests.frames import frame_table
from tests.lakes import LakeDriver

START_US = 1723161240000000  # 2024-08-08 23:54:00 UTC
COINBASE = {"type": "match", "product_id": "BTC-USD", "side": "sell", "size": "0.5"}
COINM = {"e": "trade", "s": "BTCUSD_PERP", "X": "MARKET"}


def _receive(driver: LakeDriver, exchange: str, messages: list[dict[str, object]]) -> None:
    """Frames that come a second after each other."""
    frames = [
        (json.dumps(message).encode(), START_US + 60_000_000 + 1_000_000 * number)
        for number, message in enumerate(messages)
    ]
    driver.receive_frames(
        frame_table(frames, driver.next_offset(exchange), exchange=exchange), exchange
    )
    driver.tick([exchange])


def _match(number: int, kind: str = "match") -> dict[str, object]:
    more = {"type": kind, "trade_id": number, "price": f"{100 + number}"}
    return {**COINBASE, **more, "time": f"2024-08-08T23:54:{number:02d}.000001Z"}


def test_the_match_that_coinbase_repeats_at_every_connect_is_one_trade(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    _receive(driver, "coinbase", [_match(1), _match(2), _match(2, "last_match"), _match(3)])
    _receive(driver, "coinbase", [_match(3, "last_match"), _match(4)])
    gold = driver.rows("gold.trades")
    assert [(row["trade_id"], row["side"]) for row in gold] == [(n, "buy") for n in "1234"]
    (candle,) = driver.rows("gold.ohlcv_1m")
    assert (candle["trade_count"], candle["volume"]) == (4, Decimal(2))
    assert (candle["open"], candle["close"]) == (Decimal(101), Decimal(104))
    assert candle["taker_buy_volume"] == candle["volume"]
    assert len(driver.rows("silver.coinbase_trades")) == 6


def test_the_volume_of_a_coinm_candle_is_in_contracts(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    prints = [("9640.7", "200", False), ("9642.4", "5", True), ("9642.0", "1", True)]
    _receive(
        driver,
        "binance_coinm",
        [
            {"stream": "btcusd_perp@trade", "data": COINM | {"t": n, "p": p, "q": q, "m": maker}
             | {"T": START_US // 1000 + n, "E": START_US // 1000 + n}}
            for n, (p, q, maker) in enumerate(prints)
        ],
    )  # fmt: skip
    (candle,) = driver.rows("gold.ohlcv_1m")
    assert (candle["exchange"], candle["symbol"]) == ("binance_coinm", "BTC-USD-PERP")
    assert (candle["volume"], candle["taker_buy_volume"]) == (Decimal(206), Decimal(200))
    weighted = Decimal("9640.7") * 200 + Decimal("9642.4") * 5 + Decimal("9642.0")
    assert candle["quote_volume"] == weighted
    assert candle["vwap"] == Decimal("9640.74757281")
