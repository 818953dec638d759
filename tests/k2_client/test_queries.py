"""The client against the real API under a real server."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_client import K2, Page, UnknownName, query
from k2_market.errors import UsageError
from k2_market.timeframes import TIMEFRAMES
from tests.k2_api.conftest import FILLED

START, END = date(2024, 8, 8), date(2024, 8, 10)


def test_nothing_is_asked_before_rows_are_wanted() -> None:
    with K2("http://127.0.0.1:9") as nowhere:
        nowhere.trades("BTC-USDT", "binance", START, END)
        nowhere.ohlcv("BTC-USDT", "binance", "7m", START, fill="prev")
        nowhere.instruments(at=START)


def test_rows_have_exact_values_in_pythons_own_types(k2: K2) -> None:
    [odd] = [t for t in k2.trades("BTC-USDT", "binance", START, END) if t.trade_id == "5000"]
    assert odd.price == Decimal("0.00000001")
    assert odd.quantity == Decimal("12345678901234567890.12345678")
    assert odd.timestamp == datetime(2024, 8, 9, 0, 0, 0, 1, tzinfo=UTC)
    assert odd.trade_date == date(2024, 8, 9)
    assert odd.vendor_data == {"X": "MARKET", "note": "a,b"}
    assert (odd.event_time, odd.candle_eligible) == (None, True)


def test_all_rows_come_once_whatever_the_size_of_a_page(k2: K2) -> None:
    whole = k2.trades(start=START, end=END).to_list()
    assert len(whole) == len(FILLED)

    @settings(max_examples=10, deadline=None)
    @given(page=st.integers(3, 140), limit=st.none() | st.integers(1, 200))
    def check(page: int, limit: int | None) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(query, "PAGE_ROWS", page)
            asked = k2.trades(start=START, end=END, **({} if limit is None else {"limit": limit}))
            pages = list(asked.pages())
        assert [row for p in pages for row in p.rows] == whole[:limit]
        assert all(len(p.rows) == page for p in pages[:-1])

    check()


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_candles_are_those_of_the_route(k2: K2, address: str, key: str, timeframe: str) -> None:
    asked = {"symbol": "BTC-USDT", "exchange": "binance", "start": "2024-08-08"}
    headers = {"X-API-Key": key}
    told = httpx2.get(f"{address}/v1/ohlcv/{timeframe}", params=asked, headers=headers).json()[
        "data"
    ]
    found = k2.ohlcv("BTC-USDT", "binance", timeframe, START).to_list()
    assert [(c.window_start.isoformat()[:19], c.close, c.volume) for c in found] == [
        (row["window_start"][:19], Decimal(row["close"]), Decimal(row["volume"])) for row in told
    ]


def test_the_page_tells_where_its_rows_are_from(k2: K2) -> None:
    [page] = k2.trades("ETH-USDT", start=START).pages()
    assert (page.meta.table, page.meta.has_more) == ("gold.trades", False)
    assert page.meta.start == datetime(2024, 8, 8, tzinfo=UTC)
    again = k2.trades("ETH-USDT", start=START, as_of=int(page.meta.snapshot_id or 0))
    assert again.to_list() == page.rows


def test_symbols_and_the_first_row(k2: K2) -> None:
    assert [(s.exchange, s.symbol, s.trades) for s in k2.symbols()] == [
        ("binance", "BTC-USDT", 61),
        ("binance", "ETH-USDT", 40),
        ("kraken", "BTC-USD", 30),
    ]
    first = k2.trades("btcusdt", start=START).first()
    assert first is not None
    assert first.trade_id == "1"
    assert k2.trades("BTC-USDT", start="2025-01-01").first() is None


@pytest.mark.parametrize(
    ("path", "asked", "rows"),
    [
        ("quotes", {"symbol": "BTC-USDT", "exchange": "binance", "start": "2024-08-08"}, 40),
        ("gaps", {"state": "open"}, 6),
        ("condition", {"kind": "trades"}, 2),
        ("reconciliation", {"exchange": ["binance", "kraken"], "timeframe": "1m"}, 5),
        ("rejected", {"start": "2024-08-08"}, 5),
    ],
)
def test_every_kind_of_row_is_read(
    k2: K2, address: str, key: str, path: str, asked: dict[str, Any], rows: int
) -> None:
    found = getattr(k2, path)(**asked).to_list()
    told = {n: v if isinstance(v, str) else ",".join(v) for n, v in asked.items()}
    headers = {"X-API-Key": key}
    answer = httpx2.get(f"{address}/v1/{path}", params=told, headers=headers).json()["data"]
    assert len(found) == len(answer) == rows
    assert [r.exchange for r in found] == [r["exchange"] for r in answer]
    assert list(answer[0]) == list(found[0].__struct_fields__)


def test_fields_and_order_are_the_apis(k2: K2) -> None:
    chosen = k2.trades("ETH-USDT", start=START, fields=["price", "trade_id"], order="desc", limit=2)
    assert [t.trade_id for t in chosen] == ["1040", "1039"]
    assert chosen.row.__struct_fields__ == ("price", "trade_id")


def test_a_day_is_summed_up_and_its_states_are_listed(k2: K2) -> None:
    [day] = k2.summary("btcusdt", START, "binance")
    assert day.candle is not None
    assert (day.date, day.candle.trade_count, day.quotes) == (START, 60, 40)
    states = k2.snapshots("gold.trades")
    assert states[0].rows > states[-1].rows
    before = k2.trades(start=START, as_of=int(states[-1].snapshot_id)).to_list()
    assert len(before) == states[-1].rows


def test_how_far_candles_are_is_told_by_timeframe(k2: K2) -> None:
    health = {(h.exchange, h.symbol): h for h in k2.candle_health()}
    frames = health["binance", "BTC-USDT"].timeframes
    assert set(frames) == set(TIMEFRAMES)
    assert frames["1d"].newest_window == datetime(2024, 8, 9, tzinfo=UTC)


def test_figures_of_a_range_are_those_of_its_trades(k2: K2) -> None:
    trades = k2.trades("BTC-USDT", "binance", START, date(2024, 8, 9)).to_list()
    asked = ("BTC-USDT", "binance", START, date(2024, 8, 9))
    [vwap] = k2.vwap(*asked)
    assert vwap.volume == sum(t.quantity for t in trades)
    assert vwap.quote_volume == sum(t.price * t.quantity for t in trades)
    [candle] = k2.range_candle(*asked)
    assert (candle.high, candle.trade_count) == (max(t.price for t in trades), len(trades))
    profile = k2.volume_profile(*asked, bucket="10")
    assert sum(b.volume for b in profile) == vwap.volume
    assert all(b.price_high - b.price_low == 10 for b in profile)
    [twap] = k2.twap(*asked, consolidated=True)
    assert twap.exchange == "consolidated"
    assert candle.low <= twap.twap <= candle.high


def test_candles_of_several_questions_come_in_one_request(k2: K2) -> None:
    hours = k2.ohlcv("BTC-USDT", "binance", "1h", START, END)
    sevens = k2.ohlcv("ETH-USDT", "binance", "7m", START, END, fill="prev", order="desc", limit=3)
    unknown = k2.ohlcv("NO-SUCH", "binance", "1h", START)
    first, second, refused = k2.batch([hours, sevens, unknown])
    assert isinstance(first, Page)
    assert isinstance(second, Page)
    assert (first.rows, second.rows) == (hours.to_list(), sevens.to_list())
    assert len(second.rows) == 3
    assert isinstance(refused, UnknownName)


def test_a_wrong_name_is_told_with_the_right_ones(k2: K2) -> None:
    with pytest.raises(
        UnknownName, match=r"unknown exchange 'binanse'. Known: .*binance"
    ) as raised:
        k2.trades("BTC-USDT", "binanse").to_list()
    assert raised.value.code == "unknown_exchange"
    with pytest.raises(UnknownName, match="NO-SUCH"):
        k2.trades("NO-SUCH").first()


@pytest.mark.parametrize("timeframe", ["1m/../../health", "1m?x=1", "", "%00", "1m\n", "ü"])
def test_no_text_leaves_its_place_in_the_address(k2: K2, timeframe: str) -> None:
    with pytest.raises(UsageError):
        k2.ohlcv("BTC-USDT", "binance", timeframe, START).to_list()


def test_what_cannot_be_meant_is_refused_without_asking() -> None:
    with K2("http://127.0.0.1:9") as nowhere:
        with pytest.raises(UsageError, match="limit: 0 is less than 1"):
            nowhere.trades(limit=0)
        with pytest.raises(UsageError, match="no zone"):
            nowhere.trades(start=datetime(2024, 8, 8))  # noqa: DTZ001
        with pytest.raises(UsageError, match="unknown field 'prize'"):
            nowhere.trades(fields=["prize"])
