from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from k2_lake.candles import build_candles
from tests.frames import DAY0, Print
from tests.k2_api.live.hand_fed import Served, filled_lake, served
from tests.k2_api.live.sockets import Talk, talk
from tests.keyed import keyed

CHANNEL = "ohlcv.1m"
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(filled_lake(tmp_path_factory.mktemp("candles"))) as running:
        yield running


def traded(server: Served, minute: int, price: str) -> None:
    """A trade in that minute comes, and gets through to the candles."""
    [next_one] = server.fed.trades(1)
    made = Print(next_one.trade_id, minute * MINUTE_MS + 1, price, "1")
    server.fed.give([made])
    server.fed.store()
    driver = server.fed.driver
    build_candles(driver.lake, driver.engine, "1m", DAY0.date())


def history(server: Served, start: str) -> list[dict[str, Any]]:
    with keyed(server.fed.driver.lake.settings) as client:
        found = client.get(f"/v1/ohlcv/1m?symbol=BTC-USDT&exchange=binance&start={start}")
    rows: list[dict[str, Any]] = found.json()["data"]
    return rows


async def candles(client: Talk, closes: list[str]) -> list[dict[str, Any]]:
    """The messages up to the candle that closes like the last of these, which come in order."""
    heard: list[dict[str, Any]] = []
    while not heard or heard[-1]["data"][-1]["close"] != closes[-1]:
        heard.append(await client.hear())
        assert heard[-1]["type"] == "ohlcv", heard
    assert [r["close"] for m in heard for r in m["data"]] == closes
    return heard


def test_a_candle_comes_whenever_it_has_changed_and_as_it_is_in_the_history(
    server: Served,
) -> None:
    async def run() -> dict[str, Any]:
        async with talk(server) as client:
            await client.subscribe(channel=CHANNEL)
            await asyncio.to_thread(traded, server, 10, "11")
            [message] = await candles(client, ["11.00000000"])
            assert message["channel"] == CHANNEL
            assert message["data"][0]["final"] is False
            await asyncio.to_thread(traded, server, 10, "12")
            [changed] = await candles(client, ["12.00000000"])
            return changed["data"][0]

    row = asyncio.run(run())
    assert row == history(server, "2024-08-08T00:10:00Z")[0]


def test_a_window_becomes_final_without_another_trade_in_it(server: Served) -> None:
    async def run() -> None:
        async with talk(server) as client:
            await client.subscribe(channel=CHANNEL)
            await asyncio.to_thread(traded, server, 20, "20")
            await candles(client, ["20.00000000"])
            await asyncio.to_thread(traded, server, 21, "21")
            found: dict[str, dict[str, Any]] = {}
            while not found.get("20.00000000", {}).get("final"):
                for row in (await client.hear())["data"]:
                    found[row["close"]] = row
            assert found["21.00000000"]["final"] is False

    asyncio.run(run())


def test_what_changed_while_a_reader_was_away_comes_once_late_trades_included(
    server: Served,
) -> None:
    async def run() -> None:
        async with talk(server) as client:
            await client.subscribe(channel=CHANNEL)
            await asyncio.to_thread(traded, server, 30, "30")
            [message] = await candles(client, ["30.00000000"])
        await asyncio.to_thread(traded, server, 31, "31")
        await asyncio.to_thread(traded, server, 32, "32")
        await asyncio.to_thread(traded, server, 5, "5")
        async with talk(server) as client:
            await client.subscribe(channel=CHANNEL, cursor=message["cursor"])
            found: list[dict[str, Any]] = []
            while len(found) < 4:
                found += (await client.hear())["data"]
            assert sorted(r["close"] for r in found) == sorted(
                ["30.00000000", "31.00000000", "32.00000000", "5.00000000"]
            )

    asyncio.run(run())


def test_a_stream_from_a_start_gives_the_history_and_then_goes_on(server: Served) -> None:
    async def run() -> None:
        expected = [r["window_start"] for r in history(server, "2024-08-08T00:00:00Z")]
        async with talk(server) as client:
            await client.subscribe(channel=CHANNEL, start="2024-08-08")
            found: list[str] = []
            while len(found) < len(expected):
                found += [r["window_start"] for r in (await client.hear())["data"]]
            assert found == expected
            await asyncio.to_thread(traded, server, 50, "50")
            while True:
                heard = await client.hear()
                if heard["data"][-1]["close"] == "50.00000000":
                    break
        async with talk(server) as client:
            asked = {"channel": CHANNEL, "start": "2024-08-08T00:10:00Z"}
            await client.subscribe(**asked, end="2024-08-08T00:31:00Z")
            message, end = await client.hear(), await client.hear()
            assert [r["close"] for r in message["data"]] == [
                *("12.00000000", "20.00000000", "21.00000000", "30.00000000"),
            ]
            assert (end["type"], end["has_more"]) == ("end", False)

    asyncio.run(run())


def test_timeframes_that_no_table_holds_are_streamed_as_well(server: Served) -> None:
    async def run() -> None:
        async with talk(server) as client:
            await client.subscribe(channel="ohlcv.7m", start="2024-08-08")
            heard = await client.hear()
            assert heard["channel"] == "ohlcv.7m"
            first = heard["data"][0]
            start, end = (datetime.fromisoformat(first[f"window_{n}"]) for n in ("start", "end"))
            assert end - start == timedelta(minutes=7)
            refused = await client.ask(
                op="subscribe", channel="ohlcv.7x", exchange="binance", symbol="BTC-USDT"
            )
            assert (refused["type"], refused["code"]) == ("error", "invalid_parameter")

    asyncio.run(run())
