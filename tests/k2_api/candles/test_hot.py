"""Pages from memory are the very bytes that the tables give, whatever was asked before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_api.questions.candles import CandleParameters
from k2_api.reading.candle_files import CandleFiles
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.candle_set import CANDLE_ROW
from k2_api.reading.hot import HotDays
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Symbols
from tests.k2_api.candles.traded import Row, ask
from tests.k2_api.lake_of_trades import Made, TradeLake, many
from tests.keyed import keyed

# Said so, the fields are the same, but the rows come from the tables.
EVERY_FIELD = ", ".join(CANDLE_ROW.columns)
FIRST = datetime(2024, 3, 30, tzinfo=UTC)
INSTANTS = st.one_of(
    st.none(),
    st.sampled_from([0, 24, 48, 5064, 5088, 5112]).map(lambda h: FIRST + timedelta(hours=h)),
    st.integers(-10, 5200 * 60).map(lambda m: FIRST + timedelta(minutes=m)),
)


@pytest.fixture(scope="module")
def reader(traded: TradeLake) -> Iterator[LakeReader]:
    reader = LakeReader(traded.settings)
    yield reader
    reader.close()


@settings(max_examples=60, deadline=None)
@given(
    timeframe=st.sampled_from(["1m", "5m", "1h", "1d"]),
    exchange=st.sampled_from(["binance", "binance_usdm"]),
    start=INSTANTS,
    end=INSTANTS,
    order=st.sampled_from(["asc", "desc"]),
    limit=st.sampled_from([1, 2, 7, 100, 10_000]),
    pages=st.integers(1, 3),
)
def test_a_page_from_memory_is_that_of_the_table(
    asking: TestClient,
    timeframe: str,
    exchange: str,
    start: datetime | None,
    end: datetime | None,
    order: str,
    limit: int,
    pages: int,
) -> None:
    said = {"symbol": "BTCUSDT", "exchange": exchange, "order": order, "limit": limit}
    for name, at in (("start", start), ("end", end)):
        if at is not None:
            said[name] = at.isoformat()
    for _ in range(pages):
        answers = [
            asking.get(f"/v1/ohlcv/{timeframe}?{urlencode(said | more)}")
            for more in ({}, {}, {"fields": EVERY_FIELD})
        ]
        assert answers[0].content == answers[1].content == answers[2].content
        cursor = answers[0].json().get("meta", {}).get("next_cursor")
        if cursor is None:
            return
        said["cursor"] = cursor


def test_a_page_that_is_in_memory_needs_no_query(reader: LakeReader) -> None:
    candles = CandleReader(reader, Symbols(reader))
    said = CandleParameters(symbol="BTC-USDT", exchange="binance", order="desc", limit=20)
    assert candles.at_once("1m", said) is None
    asked, page = candles.page("1m", said)
    found = candles.at_once("1m", said)
    assert found is not None
    assert (found[0], found[1]) == (asked, page)
    assert len(page.rows) == 20
    later = CandleParameters(symbol="ETH-USDT", exchange="binance", order="desc", limit=20)
    assert candles.at_once("1m", later) is None


def newest(client: TestClient, **more: object) -> list[Row]:
    asked = {"symbol": "BTC-USDT", "exchange": "binance", "order": "desc", "limit": 5, **more}
    found: list[Row] = ask(client, "/v1/ohlcv/1m", **asked)["data"]
    return found


def test_memory_follows_the_table_and_as_of_does_not(tmp_path: Path) -> None:
    lake = TradeLake(tmp_path)
    lake.add([*many(20), *many(5, first=86_401)])
    with keyed(lake.settings) as client:
        before = newest(client)
        assert before == newest(client)
        pinned = ask(client, "/v1/ohlcv/1m", symbol="BTC-USDT")["meta"]["snapshot_id"]
        lake.add([Made(90_000, 86_400 + 3000, price="77.5")])
        after = newest(client)
        assert [r["close"] for r in after] == ["77.50000000", *(r["close"] for r in before[:4])]
        assert (after[0]["final"], after[1]["final"], before[0]["final"]) == (False, True, False)
        assert newest(client, fields=EVERY_FIELD) == after
        assert newest(client, as_of=pinned) == before


def test_memory_is_bounded_and_forgets_what_was_not_asked_for(
    reader: LakeReader, traded: TradeLake
) -> None:
    symbols = Symbols(reader)
    candles = CandleReader(reader, symbols)
    said = CandleParameters(symbol="BTC-USDT", exchange="binance", order="desc", limit=1000)
    asked = candles.page("1m", said)[0]
    hot = HotDays(reader, CandleFiles(reader), most_bytes=20_000)
    whole = hot.rows(asked, 1001, load=True)
    assert whole is not None
    assert whole.rows == candles.page("1m", said)[1].rows
    assert 0 < hot.bytes <= 20_000
    assert hot.rows(asked, 1001, load=False) is None
