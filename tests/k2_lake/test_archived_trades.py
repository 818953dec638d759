"""Rows of archives through the tables, and candles that independent code made of them."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pyarrow.feather as feather
import pytest

from tests.archives import archive_frames
from tests.frames import Print
from tests.lakes import LakeDriver

PRINTS = [
    Print(i, i * 500, f"{100 + i % 7}.5", "0.25", buyer_is_maker=i % 2 == 0) for i in range(1, 41)
]


def dump(path: Path, prints: list[Print]) -> Path:
    path.write_text(
        "".join(
            f"{p.trade_id},{p.price},{p.quantity},25.0,{p.time_ms},{p.buyer_is_maker},True\n"
            for p in prints
        )
    )
    return path


def receive(driver: LakeDriver, path: Path, exchange: str = "binance") -> None:
    offset = driver.next_offset(exchange)
    driver.receive_frames(archive_frames(exchange, path, first_offset=offset), exchange)


@pytest.mark.parametrize("live_first", [True, False])
def test_live_frames_and_archive_rows_of_the_same_trades_are_each_trade_once(
    tmp_path: Path, live_first: bool
) -> None:
    file = dump(tmp_path / "BTCUSDT-trades-2024-08-08.csv", PRINTS[10:])
    live, both = LakeDriver(tmp_path / "live"), LakeDriver(tmp_path / "both")
    live.receive(PRINTS)
    live.tick()
    steps = [lambda: both.receive(PRINTS[:30]), lambda: receive(both, file)]
    for step in steps if live_first else steps[::-1]:
        step()
        both.tick()
    ids = [row["trade_id"] for row in both.rows("gold.trades")]
    assert sorted(map(int, map(str, ids))) == list(range(1, 41))
    for timeframe in ("1m", "1d"):
        assert both.rows(f"gold.ohlcv_{timeframe}") == live.rows(f"gold.ohlcv_{timeframe}")


def test_frames_and_rows_in_one_batch_keep_the_order_of_kafka(tmp_path: Path) -> None:
    file = dump(tmp_path / "BTCUSDT-trades-2024-08-08.csv", PRINTS[10:20])
    driver = LakeDriver(tmp_path / "lake")
    driver.receive(PRINTS[:10])
    receive(driver, file)
    driver.receive(PRINTS[20:])
    driver.tick()
    silver = driver.rows("silver.binance_trades")
    by_offset = sorted(silver, key=lambda row: int(str(row["kafka_offset"])))
    assert [row["trade_id"] for row in by_offset] == [str(n) for n in range(1, 41)]


@pytest.mark.data
def test_recorded_aggregated_trades_give_the_candles_that_independent_code_made(
    tmp_path: Path, shared_data: Path
) -> None:
    recorded = json.loads(
        gzip.decompress((shared_data / "freqtrade" / "XRP_OLD-trades.json.gz").read_bytes())
    )
    rows = [t["info"] for t in recorded]
    file = tmp_path / "XRPETH-aggTrades-2019-10.csv"
    file.write_text("".join("{a},{p},{q},{f},{l},{T},{m},{M}\n".format(**row) for row in rows))
    driver = LakeDriver(tmp_path / "lake")
    receive(driver, file)
    driver.tick()
    trades = driver.rows("gold.trades")
    assert sum(int(str(t["trade_count"])) for t in trades) == sum(r["l"] - r["f"] + 1 for r in rows)
    assert len(trades) == 12_477
    for timeframe, minutes in (("1m", 2469), ("5m", 706)):
        table = feather.read_table(shared_data / "freqtrade" / f"XRP_ETH-{timeframe}.feather")
        theirs = {row.pop("date"): row for row in table.to_pylist()}
        ours = {row["window_start"]: row for row in driver.rows(f"gold.ohlcv_{timeframe}")}
        assert len(theirs) == minutes
        assert ours.keys() >= theirs.keys()
        for opened, candle in theirs.items():
            wanted = {n: Decimal(repr(v)).quantize(Decimal("1e-8")) for n, v in candle.items()}
            assert {n: ours[opened][n] for n in wanted} == wanted, opened
