"""``k2 trace`` as people and programs read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from k2_cli.lake import Format
from k2_cli.trace import trace
from k2_lake.commit import commit
from k2_lake.history import Mode
from k2_lake.scan import planned
from k2_market.errors import UnknownName
from k2_market.records import CANDLE
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver

WHICH = ("binance", "BTC-USDT", "2024-08-08T00:00:00Z")
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trace")
    driver = LakeDriver(folder)
    driver.receive([Print(1, 0, "10", "1"), Print(1, 0, "10", "1"), Print(2, 1000, "12", "1")])
    driver.tick()
    return folder


def test_the_tree_goes_from_the_candle_to_the_bytes(home: Path, capsys: Captured) -> None:
    trace("gold.ohlcv_1m", *WHICH, home=home)
    out = capsys.readouterr().out
    for part in (
        "gold.ohlcv_1m binance BTC-USDT 2024-08-08T00:00:00Z\n",
        "trades: 2 of 2 shown, 2 count in candles; rows of silver: 3, repeats: 1",
        "trade 1  2024-08-08T00:00:00Z  10.00000000 x 1.00000000 buy",
        "repeat, not taken: row 0 of the frame, received 2024-08-08T00:00:00.005000Z",
        "market.crypto.trades.binance.raw[0] offset 2 epoch 1, connection 1 frame 2, replay",
        '{"stream":"btcusdt@trade","data":{"e":"trade"',
        "... (",
        "bronze.binance_trades: 3 rows by snapshot ",
        "verified: made anew from its 2 trades the candle is the same to the digit\n",
    ):
        assert part in out


def test_json_holds_everything_exactly(home: Path, capsys: Captured) -> None:
    trace("gold.ohlcv_1d", *WHICH, limit=1, home=home, format=Format.JSON)
    told = json.loads(capsys.readouterr().out)
    assert (told["verified"], told["trades_in_all"], len(told["trades"])) == (True, 2, 1)
    assert told["candle"] == told["recomputed"]
    assert told["candle"]["close"] == "12.00000000"
    frames = told["trades"][0]["frames"]
    assert bytes.fromhex(frames[0]["payload"]) == Print(1, 0, "10", "1").binance()
    trace("gold.trades", "binance", "BTC-USDT", "2", home=home, format=Format.JSON)
    assert json.loads(capsys.readouterr().out)["verified"] is True


def test_what_does_not_follow_ends_with_one_and_other_tables_cannot_be_traced(
    tmp_path: Path, capsys: Captured
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    table = driver.lake.table("gold.ohlcv_1m")
    old = planned(table, CANDLE.schema)
    rows = driver.engine.query("select * replace (7 as trade_count) from f", {"f": old})
    wrong = rows.select(CANDLE.columns).cast(CANDLE.schema)
    commit(table, add=[wrong], remove=old.files, mode=Mode.RECOMPUTE, days=[DAY0.date()])
    with pytest.raises(typer.Exit):
        trace("gold.ohlcv_1m", *WHICH, home=tmp_path)
    assert "NOT verified: made anew the candle differs: trade_count 7 but 1" in (
        capsys.readouterr().out
    )
    with pytest.raises(UnknownName, match=r"unknown table to trace 'gold\.gaps'"):
        trace("gold.gaps", *WHICH, home=tmp_path)
