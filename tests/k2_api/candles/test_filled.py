"""Windows without trades, and candles across exchanges, against arithmetic on the trades."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.k2_api.candles.traded import (
    TRADES,
    WHOLE,
    Row,
    Windows,
    ask,
    brute_force,
    every,
    local_days,
    paged,
    rows,
)

Asked = dict[str, Any]
WINDOWS: dict[tuple[str, str | None], Windows] = {
    ("10m", None): every(timedelta(minutes=10)),
    ("30m", None): every(timedelta(minutes=30)),
    ("4h", None): every(timedelta(hours=4)),
    ("1d", None): every(timedelta(days=1)),
    ("1d", "Europe/Berlin"): local_days("Europe/Berlin"),
}


def with_empty(candles: list[Row], windows: Windows) -> list[Row]:
    found: list[Row] = []
    for candle in candles:
        last = found[-1] if found else None
        while (
            last is not None
            and (last["exchange"], last["symbol"]) == (candle["exchange"], candle["symbol"])
            and last["window_end"] < candle["window_start"]
        ):
            last = nothing_after(last, windows)
            found.append(last)
        found.append({**candle, "filled": False})
    return found


def nothing_after(last: Row, windows: Windows) -> Row:
    close = last["close"]
    start, end = windows(datetime.fromisoformat(last["window_end"]))
    return {
        **last,
        **dict.fromkeys(("open", "high", "low", "close", "vwap"), close),
        "window_start": f"{start:%Y-%m-%dT%H:%M:%S.%fZ}",
        "window_end": f"{end:%Y-%m-%dT%H:%M:%S.%fZ}",
        "volume": "0.00000000",
        "quote_volume": "0.0000000000000000",
        "taker_buy_volume": "0.00000000",
        "taker_buy_quote_volume": "0.0000000000000000",
        "trade_count": 0,
        "first_trade_id": None,
        "last_trade_id": None,
        "window_date": f"{start:%Y-%m-%d}",
        "filled": True,
    }


@settings(max_examples=10, deadline=None)
@given(
    named=st.sampled_from(list(WINDOWS)),
    start=st.sampled_from([-1, 3, 17, 5062, 5080]),
    hours=st.sampled_from([30, 49, 5200]),
    symbol=st.sampled_from(["BTC-USDT", "BTC-USDT,ETH-USDT"]),
    order=st.sampled_from(["asc", "desc"]),
    limit=st.integers(150, 2500),
    consolidated=st.booleans(),
)
def test_pages_of_filled_windows_are_the_whole(
    asking: TestClient,
    named: tuple[str, str | None],
    start: int,
    hours: int,
    symbol: str,
    order: str,
    limit: int,
    consolidated: bool,
) -> None:
    name, zone = named
    if hours == 5200 and name == "10m":
        hours = 49
    begin = datetime(2024, 3, 30, tzinfo=UTC) + timedelta(hours=start)
    end = begin + timedelta(hours=hours)
    asked: Asked = {"symbol": symbol, "start": begin.isoformat(), "end": end.isoformat()}
    if zone is not None:
        asked["tz"] = zone
    if consolidated:
        asked["consolidated"] = "true"
    trades = [t for t in TRADES if t.symbol in symbol]
    candles = [
        r
        for r in brute_force(trades, WINDOWS[named], "consolidated" if consolidated else None)
        if begin <= datetime.fromisoformat(r["window_start"]) < end
    ]
    expected = with_empty(candles, WINDOWS[named])
    found = paged(asking, f"/v1/ohlcv/{name}", limit, fill="prev", order=order, **asked)
    bare = [{k: v for k, v in r.items() if k != "final"} for r in found]
    assert bare == (expected if order == "asc" else expected[::-1])


def test_a_long_silence_is_filled_page_by_page(asking: TestClient) -> None:
    asked = {"symbol": "ETH-USDT", "fill": "prev", **WHOLE}
    for order in ("asc", "desc"):
        page = ask(asking, "/v1/ohlcv/1m", order=order, limit=10_000, **asked)
        following = ask(
            asking,
            "/v1/ohlcv/1m",
            order=order,
            limit=5,
            cursor=page["meta"]["next_cursor"],
            **asked,
        )
        last, first = page["data"][-1], following["data"][0]
        one = {last[k] for k in ("window_start", "window_end")}
        assert one & {first[k] for k in ("window_start", "window_end")}
        assert (first["filled"], first["close"]) == (True, last["close"])


@pytest.mark.parametrize("named", WINDOWS)
def test_a_consolidated_candle_is_that_of_the_trades_of_all_exchanges(
    asking: TestClient, named: tuple[str, str | None]
) -> None:
    name, zone = named
    asked: Asked = {} if zone is None else {"tz": zone}
    trades = [t for t in TRADES if t.symbol == "BTC-USDT"]
    found = rows(
        asking,
        f"/v1/ohlcv/{name}",
        symbol="BTC-USDT",
        consolidated="true",
        limit=10_000,
        **asked,
        **WHOLE,
    )
    assert found == brute_force(trades, WINDOWS[named], "consolidated")


def test_several_consolidated_symbols_come_one_after_the_other(asking: TestClient) -> None:
    asked = {"symbol": "ETH-USDT,BTC-USDT", "consolidated": "true", **WHOLE}
    expected = brute_force(TRADES, every(timedelta(hours=4)), "consolidated")
    for order in ("asc", "desc"):
        found = paged(asking, "/v1/ohlcv/4h", 25, order=order, **asked)
        bare = [{k: v for k, v in r.items() if k != "final"} for r in found]
        assert bare == (expected if order == "asc" else expected[::-1])


def test_a_window_is_final_once_a_trade_of_a_later_one_is_there(asking: TestClient) -> None:
    for name in ("1m", "7m", "1h", "1d"):
        found = ask(asking, f"/v1/ohlcv/{name}", exchange="binance", limit=10_000, **WHOLE)["data"]
        newest = max(r["window_start"] for r in found)
        for row in found:
            assert row["final"] is (row["window_end"] <= newest), (name, row)


def test_fields_are_chosen_of_filled_windows_as_well(asking: TestClient) -> None:
    found = ask(
        asking, "/v1/ohlcv/4h", symbol="BTC-USDT", fill="prev", fields="window_start,filled,final"
    )
    assert found["data"]
    assert all(list(r) == ["window_start", "filled", "final"] for r in found["data"])
