"""Figures of a range as a whole, against arithmetic on the trades."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Context, Decimal
from itertools import groupby
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_api.reading import volume_profile
from tests.k2_api.candles.traded import TRADES, ask, at_of, brute_force
from tests.k2_api.lake_of_trades import Made

FIRST = datetime(2024, 3, 30, tzinfo=UTC)
EXACT = Context(prec=80, rounding=ROUND_DOWN)
CENTS = Decimal("0.00000001")
SECONDS = st.one_of(
    st.integers(0, 4 * 86_400),
    st.integers(0, 4 * 144).map(lambda n: n * 600),
    st.integers(0, 4 * 144).map(lambda n: n * 600 + 1),
)
SYMBOLS = st.sampled_from(["BTC-USDT", "BTC-USDT,ETH-USDT"])


def asked(
    start: datetime, end: datetime, symbol: str, consolidated: bool
) -> tuple[dict[str, Any], list[Made]]:
    said = {"symbol": symbol, "start": start.isoformat(), "end": end.isoformat()}
    if consolidated:
        said["consolidated"] = "true"
    trades = [t for t in TRADES if t.symbol in symbol and start <= at_of(t) < end]
    return said, trades


def by_instrument(
    trades: Sequence[Made], *, consolidated: bool
) -> list[tuple[tuple[str, str], list[Made]]]:
    def key(trade: Made) -> tuple[str, str]:
        return ("consolidated" if consolidated else trade.exchange, trade.symbol)

    return [(k, list(of)) for k, of in groupby(sorted(trades, key=key), key)]


def cut(amount: Decimal, by: Decimal) -> str:
    return f"{EXACT.divide(amount, by).quantize(CENTS, ROUND_DOWN):.8f}"


@settings(max_examples=12, deadline=None)
@given(first=SECONDS, length=SECONDS, symbol=SYMBOLS, consolidated=st.booleans())
def test_the_candle_and_the_vwap_of_a_range_are_those_of_its_trades(
    asking: TestClient, first: int, length: int, symbol: str, consolidated: bool
) -> None:
    start = FIRST + timedelta(seconds=first)
    end = start + timedelta(seconds=length + 1)
    said, trades = asked(start, end, symbol, consolidated)
    whole = "consolidated" if consolidated else None
    expected = brute_force(trades, lambda at: (start, end), whole)
    assert ask(asking, "/v1/aggregations/ohlcv", **said)["data"] == expected
    vwap = ask(asking, "/v1/aggregations/vwap", **said)["data"]
    names = ("exchange", "symbol", "vwap", "volume", "quote_volume", "trade_count")
    assert vwap == [{name: row[name] for name in names} for row in expected]


@settings(max_examples=15, deadline=None)
@given(first=SECONDS, length=SECONDS, symbol=SYMBOLS, consolidated=st.booleans())
def test_a_price_counts_in_the_twap_for_as_long_as_it_stood(
    asking: TestClient, first: int, length: int, symbol: str, consolidated: bool
) -> None:
    start = FIRST + timedelta(seconds=first)
    end = start + timedelta(seconds=length + 1)
    said, _ = asked(start, end, symbol, consolidated)
    _, trades = asked(start - timedelta(days=1), end, symbol, consolidated)
    expected = []
    for (exchange, name), of in by_instrument(trades, consolidated=consolidated):
        of.sort(key=lambda t: (t.at, t.exchange, t.number))
        weighted, covered = Decimal(0), timedelta(0)
        for trade, following in zip(of, [*of[1:], None], strict=True):
            until = end if following is None else max(at_of(following), start)
            stood = until - max(at_of(trade), start)
            weighted += Decimal(trade.price) * (stood // timedelta(microseconds=1))
            covered += stood
        if covered:
            micros = Decimal(covered // timedelta(microseconds=1))
            expected.append(
                {
                    "exchange": exchange,
                    "symbol": name,
                    "twap": cut(weighted, micros),
                    "covered_seconds": f"{micros.scaleb(-6):.6f}",
                    "trade_count": sum(at_of(t) >= start for t in of),
                }
            )
    assert ask(asking, "/v1/aggregations/twap", **said)["data"] == expected


@settings(max_examples=15, deadline=None)
@given(
    first=SECONDS,
    length=SECONDS,
    consolidated=st.booleans(),
    sizes=st.sampled_from(
        [{"buckets": 1}, {"buckets": 7}, {}, {"bucket": "1000"}, {"bucket": "333.33333333"}]
    ),
)
def test_a_volume_profile_has_every_trade_in_its_bucket(
    asking: TestClient, first: int, length: int, consolidated: bool, sizes: dict[str, Any]
) -> None:
    start = FIRST + timedelta(seconds=first)
    end = start + timedelta(seconds=length + 1)
    said, trades = asked(start, end, "BTC-USDT", consolidated)
    found = ask(asking, "/v1/aggregations/volume_profile", **said, **sizes)["data"]
    expected = []
    for (exchange, symbol), of in by_instrument(trades, consolidated=consolidated):
        low, size = 0, int(Decimal(sizes.get("bucket", 0)).scaleb(8))
        if not size:
            low, high = min(_units(t) for t in of), max(_units(t) for t in of)
            size = (high - low) // sizes.get("buckets", 50) + 1

        def begin(trade: Made, low: int = low, size: int = size) -> int:
            return low + (_units(trade) - low) // size * size

        for begins, group in groupby(sorted(of, key=begin), begin):
            expected.append(_bucket(exchange, symbol, begins, begins + size, list(group)))
    assert found == expected


def _units(trade: Made) -> int:
    return int(Decimal(trade.price).scaleb(8))


def _bucket(exchange: str, symbol: str, low: int, high: int, of: list[Made]) -> dict[str, Any]:
    volume = sum((Decimal(t.quantity) for t in of), Decimal(0))
    quote = sum((Decimal(t.quantity) * Decimal(t.price) for t in of), Decimal(0))
    bought = sum((Decimal(t.quantity) for t in of if t.number % 2), Decimal(0))
    return {
        "exchange": exchange,
        "symbol": symbol,
        "price_low": f"{Decimal(low).scaleb(-8):.8f}",
        "price_high": f"{Decimal(high).scaleb(-8):.8f}",
        "volume": f"{volume:.8f}",
        "quote_volume": f"{quote:.16f}",
        "taker_buy_volume": f"{bought:.8f}",
        "trade_count": len(of),
    }


def test_a_past_state_is_made_of_its_trades_alone(asking: TestClient) -> None:
    said, _ = asked(FIRST, FIRST + timedelta(days=3), "BTC-USDT", consolidated=False)
    now = ask(asking, "/v1/aggregations/ohlcv", **said)
    then = ask(asking, "/v1/aggregations/ohlcv", **said, as_of=now["meta"]["snapshot_id"])
    assert then["data"] == now["data"]
    assert then["meta"] == {**now["meta"], "freshness": None}


def test_a_profile_of_too_many_buckets_says_what_to_do(
    asking: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_profile, "MOST_BUCKETS", 5)
    url = "/v1/aggregations/volume_profile?symbol=BTC-USDT&start=2024-03-30&bucket=0.00000001"
    answer = asking.get(url)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "larger size" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("url", "status", "says"),
    [
        ("vwap?start=2024-03-30", 422, "symbol"),
        ("vwap?symbol=BTC-USDT", 422, "start"),
        ("vwap?symbol=BTC-USDT&start=2024-03-30&limit=3", 422, "limit"),
        ("twap?symbol=BTC-USDT&start=2024-03-30&end=2024-03-30", 422, "not after start"),
        ("twap?symbol=DOGE-USDT&start=2024-03-30", 404, "DOGE-USDT"),
        ("twap?symbol=BTC-USDT&start=2999-03-30", 422, "not after start"),
        ("volume_profile?symbol=BTC-USDT&start=2024-03-30&bucket=0", 422, "bucket"),
        ("volume_profile?symbol=BTC-USDT&start=2024-03-30&bucket=nan", 422, "bucket"),
        ("volume_profile?symbol=BTC-USDT&start=2024-03-30&bucket=1e30", 422, "bucket"),
        ("volume_profile?symbol=BTC-USDT&start=2024-03-30&buckets=501", 422, "buckets"),
        ("volume_profile?symbol=BTC-USDT&start=2024-03-30&bucket=1&buckets=5", 422, "bucket"),
    ],
)
def test_what_cannot_be_aggregated_is_refused_and_says_why(
    asking: TestClient, url: str, status: int, says: str
) -> None:
    answer = asking.get(f"/v1/aggregations/{url}")
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
