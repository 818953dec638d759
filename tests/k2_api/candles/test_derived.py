"""Candles that no table holds, against arithmetic on the trades."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.k2_api.candles.traded import (
    EPOCH,
    TRADES,
    WHOLE,
    Windows,
    at_of,
    brute_force,
    every,
    local_days,
    local_months,
    local_weeks,
    paged,
    rows,
)

MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
FIXED: dict[str, Windows] = {
    **{f"{n}m": every(timedelta(minutes=n)) for n in (1, 2, 7, 15, 45, 90)},
    **{f"{n}h": every(timedelta(hours=n)) for n in (1, 4, 5, 24)},
    **{f"{n}d": every(timedelta(days=n)) for n in (1, 3)},
    **{f"{n}w": every(timedelta(weeks=n), MONDAY) for n in (1, 2)},
    "1M": local_months("UTC"),
}
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "UTC")


@pytest.mark.parametrize("name", FIXED)
def test_windows_of_any_length_are_those_of_the_trades(asking: TestClient, name: str) -> None:
    found = rows(asking, f"/v1/ohlcv/{name}", limit=10_000, **WHOLE)
    assert found == brute_force(TRADES, FIXED[name])


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("name", "windows"), [("1d", local_days), ("1w", local_weeks), ("1M", local_months)]
)
def test_windows_of_local_days_follow_the_clocks_of_the_zone(
    asking: TestClient, name: str, windows: type[Windows], zone: str
) -> None:
    found = rows(asking, f"/v1/ohlcv/{name}", tz=zone, limit=10_000, **WHOLE)
    assert found == brute_force(TRADES, windows(zone))  # type: ignore[call-arg, arg-type]


def test_a_day_on_which_clocks_change_has_23_or_25_hours(asking: TestClient) -> None:
    found = rows(asking, "/v1/ohlcv/1d", tz="Europe/Berlin", exchange="binance", **WHOLE)
    lengths = {
        r["window_start"][:13]: datetime.fromisoformat(r["window_end"])
        - datetime.fromisoformat(r["window_start"])
        for r in found
    }
    assert lengths["2024-03-30T23"] == timedelta(hours=23)
    assert lengths["2024-10-26T22"] == timedelta(hours=25)
    assert lengths["2024-03-29T23"] == timedelta(hours=24)


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(["7m", "4h", "1h", "3d", "1w", "1M"]),
    start=st.integers(0, 240 * 24),
    hours=st.integers(1, 240 * 24),
    of=st.sampled_from(
        [
            ("binance", "BTC-USDT"),
            ("binance", "BTC-USDT,ETH-USDT"),
            ("binance,binance_usdm", "BTC-USDT"),
            ("binance,binance_usdm", "BTC-USDT,ETH-USDT"),
        ]
    ),
    order=st.sampled_from(["asc", "desc"]),
    limit=st.integers(9, 60),
)
def test_pages_of_a_range_are_the_windows_that_begin_in_it(
    asking: TestClient,
    name: str,
    start: int,
    hours: int,
    of: tuple[str, str],
    order: str,
    limit: int,
) -> None:
    exchange, symbol = of
    begin = datetime(2024, 3, 25, 0, 30, tzinfo=UTC) + timedelta(hours=start)
    end = begin + timedelta(hours=hours)
    trades = [t for t in TRADES if t.exchange in exchange.split(",") and t.symbol in symbol]
    expected = [
        r
        for r in brute_force(trades, FIXED[name])
        if begin <= datetime.fromisoformat(r["window_start"]) < end
    ]
    found = paged(
        asking,
        f"/v1/ohlcv/{name}",
        limit,
        exchange=exchange,
        symbol=symbol,
        start=begin.isoformat(),
        end=end.isoformat(),
        order=order,
    )
    bare = [{k: v for k, v in r.items() if k != "final"} for r in found]
    assert bare == (expected if order == "asc" else expected[::-1])


def test_by_default_a_range_begins_a_thousand_windows_before_the_newest(
    asking: TestClient,
) -> None:
    found = rows(asking, "/v1/ohlcv/7m", symbol="ETH-USDT")
    assert {r["window_date"] for r in found} == {"2024-10-27", "2024-10-28"}
    newest = rows(asking, "/v1/ohlcv/7m", symbol="ETH-USDT", exchange="binance", order="desc")
    everything = rows(asking, "/v1/ohlcv/7m", symbol="ETH-USDT", exchange="binance", **WHOLE)
    assert newest == everything[::-1]


def test_the_coarsest_stored_candles_that_divide_a_window_are_read(asking: TestClient) -> None:
    def table(name: str, **parameters: object) -> str:
        answer = asking.get(f"/v1/ohlcv/{name}", params={k: str(v) for k, v in parameters.items()})
        found: str = answer.json()["meta"]["table"]
        return found

    assert table("7m") == "gold.ohlcv_1m"
    assert table("15m") == "gold.ohlcv_5m"
    assert table("90m") == "gold.ohlcv_30m"
    assert table("4h") == "gold.ohlcv_1h"
    assert table("60m") == "gold.ohlcv_1h"
    assert table("1w") == table("1M") == table("24h") == "gold.ohlcv_1d"
    assert table("1d", tz="Europe/Berlin") == "gold.ohlcv_1h"
    assert table("1w", tz="Asia/Kolkata") == "gold.ohlcv_30m"
    assert table("1M", tz="Asia/Kathmandu", start="2024-01-01") == "gold.ohlcv_5m"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("0m", "1m, 7m, 4h"),
        ("7s", "1m, 7m, 4h"),
        ("10000d", "at most 366 days"),
        ("2M", "1M for months"),
        ("007m", "1m, 7m"),
        ("m", "1m, 7m"),
        ("99999999999m", "1m, 7m"),
        ("7m?tz=Europe/Berlin", "for days and longer"),
        ("1d?tz=Mars/Olympus", "IANA"),
        ("1d?tz=../../etc/passwd", "IANA"),
        ("1d?tz=", "IANA"),
        ("1d?fill=next", "fill"),
        ("1d?consolidated=true", "symbol=BTC-USDT"),
    ],
)
def test_what_is_no_timeframe_is_422_and_says_what_is(
    asking: TestClient, url: str, says: str
) -> None:
    answer = asking.get(f"/v1/ohlcv/{url}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert says in answer.json()["detail"]


def test_a_cursor_of_other_windows_is_refused(asking: TestClient) -> None:
    page = asking.get("/v1/ohlcv/7m?limit=2&start=2024-03-01").json()
    cursor = page["meta"]["next_cursor"]
    for url in ("11m?start=2024-03-01", "7m?start=2024-03-01&fill=prev", "7m?start=2024-03-02"):
        assert asking.get(f"/v1/ohlcv/{url}&limit=2&cursor={cursor}").status_code == 422


def test_made_trades_share_their_times_across_exchanges() -> None:
    times = [{at_of(t) for t in TRADES if t.exchange == e} for e in ("binance", "binance_usdm")]
    assert len(times[0] & times[1]) > 5
    assert min(times[0]) > EPOCH
