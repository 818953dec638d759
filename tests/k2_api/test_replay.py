from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_market.records import QUOTE, TRADE
from tests.frames import DAY0, Print
from tests.keyed import keyed
from tests.lakes import LakeDriver
from tests.live_frames import Best, beside, receive_live

DAY = "start=2024-08-08&end=2024-08-09"
Key = tuple[str, str, str, int, int, int, int]


@dataclass(frozen=True)
class Recorded:
    """A lake with what arrived in it, and the API over it."""

    driver: LakeDriver
    client: TestClient

    def messages(self, query: str) -> list[dict[str, Any]]:
        response = self.client.get(f"/v1/replay?{query}")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in response.text.splitlines()]

    def rows(self, query: str) -> list[dict[str, Any]]:
        *messages, end = self.messages(query)
        assert end["type"] == "end"
        return [row for m in messages for row in m["data"]]

    def paged(self, query: str, limit: int) -> list[dict[str, Any]]:
        found, cursor = [], ""
        while True:
            *messages, end = self.messages(f"{query}&limit={limit}{cursor}")
            page = [row for m in messages for row in m["data"]]
            assert len(page) == limit or not end["has_more"]
            found += page
            if not end["has_more"]:
                return found
            cursor = f"&cursor={end['cursor']}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    driver = LakeDriver(tmp_path_factory.mktemp("replay"))
    quotes = beside(driver)
    # Trades are received 5 ms after they happened, every third one as late as its neighbour's.
    driver.receive([Print(n, n * 100, "10", "1", received_ms=n // 3 * 300) for n in range(1, 40)])
    driver.receive([Print(n, n * 90, "5", "2", symbol="ETHUSDT") for n in range(500, 520)])
    receive_live(quotes, [Best(n, n * 100) for n in range(1, 60)])
    receive_live(quotes, [Best(n, n * 100 + 5, "ETHUSDT") for n in range(700, 720)])
    driver.tick()
    quotes.tick()
    with keyed(driver.lake.settings, raise_server_exceptions=False) as client:
        yield Recorded(driver, client)


def identity(row: dict[str, Any]) -> tuple[str, str, str]:
    kind = "trade_id" if "trade_id" in row else "quote_id"
    return (kind, row["symbol"], row[kind])


def received(row: dict[str, Any]) -> tuple[Any, ...]:
    channel = "trades" if "trade_id" in row else "quotes"
    place = [row[c] for c in ("epoch", "kafka_partition", "kafka_offset", "frame_index")]
    return (row["ingestion_timestamp"], row["exchange"], channel, *place)


def test_a_replay_has_every_row_once_in_the_order_of_receipt(recorded: Recorded) -> None:
    rows = recorded.rows(f"{DAY}&limit=10000")
    assert len(rows) == 39 + 20 + 59 + 20
    assert len({identity(r) for r in rows}) == len(rows)
    assert [received(r) for r in rows] == sorted(received(r) for r in rows)


def test_rows_are_those_of_the_history(recorded: Recorded) -> None:
    replayed = recorded.rows(f"{DAY}&channels=trades&symbol=BTC-USDT&limit=10000")
    history = recorded.client.get(f"/v1/trades?{DAY}&symbol=BTC-USDT&limit=10000").json()["data"]
    by_id = {r["trade_id"]: r for r in history}
    assert replayed == [by_id[r["trade_id"]] for r in replayed]
    assert len(replayed) == len(history) == 39
    quote = recorded.rows(f"{DAY}&channels=quotes&limit=1")[0]
    assert list(quote) == QUOTE.columns
    assert list(replayed[0]) == TRADE.columns


def test_a_message_has_rows_of_one_channel_exchange_and_symbol(recorded: Recorded) -> None:
    *messages, end = recorded.messages(f"{DAY}&limit=10000")
    for message in messages:
        assert list(message) == ["type", "channel", "exchange", "symbol", "data", "cursor"]
        assert message["type"] == message["channel"]
        assert {(r["exchange"], r["symbol"]) for r in message["data"]} == {
            (message["exchange"], message["symbol"])
        }
    assert end == {"type": "end", "has_more": False, "cursor": messages[-1]["cursor"]}


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_pages_follow_one_another_without_hole_or_repeat(recorded: Recorded, limit: int) -> None:
    assert recorded.paged(DAY, limit) == recorded.rows(f"{DAY}&limit=10000")


def test_the_cursor_of_any_message_goes_on_behind_it(recorded: Recorded) -> None:
    *messages, _ = recorded.messages(f"{DAY}&limit=10000")
    rows = [row for m in messages for row in m["data"]]
    passed = 0
    for message in messages[:: max(len(messages) // 8, 1)]:
        passed = rows.index(message["data"][-1]) + 1
        assert recorded.rows(f"{DAY}&limit=10000&cursor={message['cursor']}") == rows[passed:]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 6000), st.integers(1, 6000), st.sampled_from(["BTC-USDT", "ethusdt", None]))
def test_a_range_is_of_the_times_of_receipt(
    recorded: Recorded, first_ms: int, length_ms: int, symbol: str | None
) -> None:
    start = DAY0 + timedelta(milliseconds=first_ms)
    end = start + timedelta(milliseconds=length_ms)
    asked = f"start={start:%Y-%m-%dT%H:%M:%S.%fZ}&end={end:%Y-%m-%dT%H:%M:%S.%fZ}"
    named = "" if symbol is None else f"&symbol={symbol}"
    canonical = {"ethusdt": "ETH-USDT"}.get(symbol or "", symbol)
    expected = [
        r
        for r in recorded.rows(f"{DAY}&limit=10000")
        if f"{start:%Y-%m-%dT%H:%M:%S.%fZ}"
        <= r["ingestion_timestamp"]
        < f"{end:%Y-%m-%dT%H:%M:%S.%fZ}"
        and canonical in (None, r["symbol"])
    ]
    assert recorded.rows(f"{asked}{named}&limit=10000") == expected


def test_a_replay_of_the_past_ignores_what_came_since(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(n, n * 100, "10", "1") for n in range(1, 11)])
    driver.tick()
    asked = f"{DAY}&channels=trades&as_of={datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    with keyed(driver.lake.settings) as client:
        recorded = Recorded(driver, client)
        *messages, end = recorded.messages(f"{asked}&limit=4")
        first = [row["trade_id"] for m in messages for row in m["data"]]
        driver.receive([Print(n, n * 10, "10", "1") for n in range(20, 100)])
        driver.tick()
        rest = recorded.rows(f"{asked}&limit=10000&cursor={end['cursor']}")
        newest = recorded.rows(f"{DAY}&channels=trades&limit=10000")
    assert first + [r["trade_id"] for r in rest] == [str(n) for n in range(1, 11)]
    assert len(newest) == 90


@pytest.mark.parametrize(
    ("query", "status", "code", "says"),
    [
        ("", 422, "invalid_parameter", "start"),
        (f"{DAY}&channels=candles", 404, "unknown_channel", "candles"),
        (f"{DAY}&channels=trades,,quotes", 422, "invalid_parameter", "empty name"),
        (f"{DAY}&exchange=nowhere", 404, "unknown_exchange", "nowhere"),
        (f"{DAY}&symbol=DOGE-USDT", 404, "unknown_symbol", "DOGE-USDT"),
        ("start=2024-08-09&end=2024-08-08", 422, "invalid_parameter", "not after start"),
        (f"{DAY}&cursor=AAAA", 422, "invalid_parameter", "not a cursor of this replay"),
        (f"{DAY}&speed=2", 422, "invalid_parameter", "speed"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    recorded: Recorded, query: str, status: int, code: str, says: str
) -> None:
    response = recorded.client.get(f"/v1/replay?{query}")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert says in response.json()["detail"]


def test_a_cursor_of_another_question_is_refused(recorded: Recorded) -> None:
    cursor = recorded.messages(f"{DAY}&limit=3")[-1]["cursor"]
    response = recorded.client.get(f"/v1/replay?{DAY}&symbol=BTC-USDT&cursor={cursor}")
    assert response.status_code == 422
    altered = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    assert recorded.client.get(f"/v1/replay?{DAY}&cursor={altered}").status_code == 422


def test_a_lake_without_tables_has_nothing_to_replay(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.lake.table("gold.trades")
    with keyed(driver.lake.settings) as client:
        assert Recorded(driver, client).messages(DAY) == [
            {"type": "end", "has_more": False, "cursor": None}
        ]
