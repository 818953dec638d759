"""What came to Kafka is in the answer before any table has it, each row once."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

import pytest

from k2_feeds.kafka.broker import FOLDER, start_broker
from k2_market.kinds import Kind
from tests.frames import Print
from tests.k2_api.lake_of_trades import TradeLake, many
from tests.k2_api.tail.fed import Fed, Row, trades
from tests.keyed import keyed
from tests.live_frames import Best
from tests.services import wait_until


def test_trades_are_answered_before_and_after_a_table_has_them_with_the_same_rows(
    market: Fed,
) -> None:
    market.produce(trades(1, 5))
    market.until_ids(range(1, 6))
    before = market.get("trades", start="2024-08-08")["data"]
    market.tick()
    assert market.get("trades", start="2024-08-08")["data"] == before
    market.produce(trades(6, 8))
    market.until_ids(range(1, 9))
    told = market.get("trades", symbol="btcusdt", exchange="binance")["meta"]["freshness"]
    assert (told["tail"], told["detail"]) == ("live", None)
    assert told["through"] is not None


def test_pages_go_over_the_seam_in_either_order(market: Fed) -> None:
    market.produce(trades(1, 6))
    market.tick()
    market.produce([*trades(5, 9), *trades(10, 12, symbol="ETHUSDT")])
    market.until_ids(range(1, 13))
    for order in ("asc", "desc"):
        found: list[int] = []
        cursor = None
        while True:
            asked = {} if cursor is None else {"cursor": cursor}
            page = market.get("trades", start="2024-08-08", limit=2, order=order, **asked)
            found += [int(row["trade_id"]) for row in page["data"]]
            cursor = page["meta"]["next_cursor"]
            assert page["meta"]["has_more"] == (cursor is not None)
            if cursor is None:
                break
        assert found == (list(range(1, 13)) if order == "asc" else list(range(12, 0, -1)))
    newest = market.get("trades", symbol="BTC-USDT", exchange="binance", order="desc", limit=3)
    assert [row["trade_id"] for row in newest["data"]] == ["9", "8", "7"]


def test_a_range_takes_of_the_tail_what_is_in_it_and_fields_are_those_asked_for(
    market: Fed,
) -> None:
    market.produce(trades(1, 3))
    market.tick()
    market.produce(trades(4, 9))
    market.until_ids(range(1, 10))
    part = market.get(
        "trades", start="2024-08-08T00:00:03Z", end="2024-08-08T00:00:06Z", fields="trade_id,side"
    )
    assert part["data"] == [{"trade_id": str(n), "side": "buy"} for n in (3, 4, 5)]
    assert market.ids(symbol="BTC-USDT", end="2024-08-08T00:00:02Z") == [1]


def test_quotes_are_answered_before_any_table_has_them(market: Fed) -> None:
    market.produce([Best(n, n * 1_000) for n in range(1, 4)])
    market.until_ids(range(1, 4), "quotes")
    market.tick(Kind.QUOTES)
    market.produce([Best(n, n * 1_000) for n in range(3, 6)])
    market.until_ids(range(1, 6), "quotes")


def test_a_past_state_has_no_tail_and_says_nothing_of_it(market: Fed) -> None:
    market.produce(trades(1, 3))
    market.tick()
    market.produce(trades(4, 5))
    market.until_ids(range(1, 6))
    snapshot = market.get("trades")["meta"]["snapshot_id"]
    past = market.get("trades", start="2024-08-08", as_of=snapshot)
    assert [row["trade_id"] for row in past["data"]] == ["1", "2", "3"]
    assert past["meta"]["freshness"] is None


def test_without_kafka_the_tail_is_off(growing: TradeLake) -> None:
    with keyed(growing.settings) as client:
        answer = client.get("/v1/trades").json()
    assert len(answer["data"]) == len(many(20))
    assert answer["meta"]["freshness"] == {"tail": "off", "through": None, "detail": None}


def test_a_broker_that_hangs_is_told_in_time_and_found_again(market: Fed) -> None:
    market.produce(trades(1, 3))
    market.tick()
    os.kill(market.broker.process.pid, signal.SIGSTOP)
    try:
        told = market.until("down")["meta"]["freshness"]
        assert told["through"] is None
        assert "Kafka" in told["detail"]
        began = time.monotonic()
        assert market.ids() == [1, 2, 3]
        assert time.monotonic() - began < 5
    finally:
        os.kill(market.broker.process.pid, signal.SIGCONT)
    market.until("live")
    market.produce(trades(4, 5))
    market.until_ids(range(1, 6))


def test_a_broker_that_was_started_anew_is_followed_from_its_beginning(market: Fed) -> None:
    market.produce(trades(1, 3))
    market.tick()
    market.broker.stop()
    with start_broker(market.home / FOLDER) as broker:
        market.broker = broker
        market.produce(trades(4, 6))
        market.until_ids(range(1, 7))
        market.until("live")
        market.tick()
        market.produce([Print(7, 7_000, "100", "1")])
        market.until_ids(range(1, 8))


def test_candles_hold_the_trades_that_no_table_has_and_are_not_final_while_they_wait(
    market: Fed,
) -> None:
    market.produce(trades(1, 130))
    market.tick()
    # For a second after a commit the tail may still count what it brought as waiting.
    _until_told(market, "1m", [(59, True), (60, True), (11, False)])
    stored = market.get("ohlcv/1m", **ONE)["data"]
    market.produce(trades(131, 190))
    _until_told(market, "1m", [(59, True), (60, True), (60, False), (11, False)])
    made = market.get("ohlcv/1m", **ONE)
    assert made["data"][:2] == stored[:2]
    assert made["meta"]["freshness"]["tail"] == "live"
    for name in ("7m", "1h", "1d"):
        _until_told(market, name, [(190, False)])
    newest = market.get("ohlcv/1m", **NEWEST)["data"]
    market.tick()
    assert market.get("ohlcv/1m", **NEWEST)["data"] == newest


def test_candles_hold_the_tail_again_once_it_is_live_though_nothing_new_came(
    market: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows that a table has are let go of after this time, which would be a change of the tail.
    monkeypatch.setattr("k2_api.tail.following.KEEP_BEHIND_S", 600.0)
    market.produce(trades(1, 3))
    market.tick()
    market.produce(trades(4, 6))
    _until_told(market, "1m", [(6, False)])
    with monkeypatch.context() as silence:
        silence.setattr("k2_api.tail.freshness.STALE_AFTER", timedelta(days=-1))
        _until_told(market, "5m", [(3, False)])
    _until_told(market, "5m", [(6, False)])


ONE: dict[str, object] = {"exchange": "binance", "symbol": "BTC-USDT", "start": "2024-08-08"}
NEWEST = {**ONE, "order": "desc", "limit": 1}


def _until_told(market: Fed, timeframe: str, wanted: list[tuple[int, bool]]) -> None:
    """Wait for candles of so many trades that are final, or not."""

    told: list[Row] = []

    def is_told() -> bool:
        told[:] = [market.get(f"ohlcv/{timeframe}", **ONE)]
        return [(row["trade_count"], row["final"]) for row in told[0]["data"]] == wanted

    try:
        wait_until(is_told, f"{timeframe} {wanted}", 60)
    except TimeoutError:
        pytest.fail(f"{timeframe}: wanted {wanted}, was told {told}")
