from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from k2_api.live.settings import LiveSettings
from k2_market.kinds import Kind
from tests.feeds import until
from tests.frames import Print
from tests.k2_api.live.hand_fed import Served, filled_lake, ids, served
from tests.k2_api.live.sockets import WITHIN_S, talk
from tests.keyed import keyed
from tests.services import wait_until

BITCOIN = {"channel": "trades", "exchange": "binance", "symbol": "BTC-USDT"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    driver = filled_lake(tmp_path_factory.mktemp("live"))
    settings = LiveSettings(subscriptions=3, connections_of_key=6, message_bytes=2_000)
    with served(driver, settings) as running:
        yield running


def test_rows_come_as_they_are_in_the_history(server: Served) -> None:
    async def run() -> list[dict[str, object]]:
        async with talk(server) as client:
            subscribed = await client.subscribe("btcusdt")
            assert subscribed["symbol"] == "BTC-USDT"
            assert subscribed["freshness"]["tail"] == "live"
            server.fed.give([*server.fed.trades(3), *server.fed.trades(2, "ETHUSDT")])
            [message] = await client.rows(3)
            assert {k: message[k] for k in BITCOIN} == BITCOIN
            assert message["type"] == "trades"
            return message["data"]

    rows = asyncio.run(run())
    server.fed.store()
    with keyed(server.fed.driver.lake.settings) as history:
        found = history.get("/v1/trades?symbol=BTC-USDT&start=2024-08-08&order=desc&limit=3")
    assert rows == found.json()["data"][::-1]


def test_a_new_stream_begins_now(server: Served) -> None:
    async def run() -> None:
        server.fed.give(server.fed.trades(5))
        async with talk(server) as client:
            await client.subscribe()
            assert (await client.ask(op="ping"))["type"] == "pong"
            new = server.fed.trades(1)
            server.fed.give(new)
            assert ids(await client.rows(1)) == [new[0].trade_id]

    asyncio.run(run())


def test_a_trade_that_a_table_has_already_is_not_sent_when_the_exchange_repeats_it(
    server: Served,
) -> None:
    async def run() -> None:
        async with talk(server) as client:
            await client.subscribe()
            first, second = server.fed.trades(2)
            server.fed.give([Print(5, 5, "10", "1"), first])
            assert ids(await client.rows(1)) == [first.trade_id]
            # A lower number than the last, but a trade that no table has.
            server.fed.give([second, Print(first.trade_id - 50, 7, "10", "1")])
            assert ids(await client.rows(2)) == [second.trade_id, first.trade_id - 50]

    asyncio.run(run())


def test_a_stream_that_was_ended_is_sent_nothing_more(server: Served) -> None:
    async def run() -> None:
        async with talk(server) as client:
            await client.subscribe("BTC-USDT")
            await client.subscribe("ETH-USDT")
            ended = await client.ask(op="unsubscribe", **BITCOIN)
            assert ended["type"] == "unsubscribed"
            server.fed.give(server.fed.trades(1))
            server.fed.give(server.fed.trades(1, "ETHUSDT"))
            [message] = await client.rows(1)
            assert message["symbol"] == "ETH-USDT"
            missed = await client.subscribe(cursor=ended["cursor"])
            assert missed["cursor"] == ended["cursor"]
            await client.rows(1)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("said", "code", "says"),
    [
        ({"op": "shout"}, "invalid_message", "shout"),
        ({"op": "subscribe", "channel": "trades"}, "invalid_message", "exchange"),
        ({"op": "subscribe", **BITCOIN, "speed": 2}, "invalid_message", "speed"),
        ({"op": "subscribe", **BITCOIN, "channel": "books"}, "unknown_channel", "books"),
        ({"op": "subscribe", **BITCOIN, "exchange": "nyse"}, "unknown_exchange", "nyse"),
        ({"op": "subscribe", **BITCOIN, "symbol": "DOGE-USDT"}, "unknown_symbol", "DOGE-USDT"),
        ({"op": "subscribe", **BITCOIN, "cursor": "AAAA"}, "invalid_parameter", "cursor"),
        ({"op": "subscribe", **BITCOIN, "start": "noon"}, "invalid_parameter", "start"),
        ({"op": "subscribe", **BITCOIN, "end": "2024-08-09"}, "invalid_parameter", "end"),
        ({"op": "unsubscribe", **BITCOIN}, "invalid_parameter", "not subscribed"),
        (["subscribe"], "invalid_message", "object"),
    ],
)
def test_what_is_not_understood_is_said_and_the_conversation_goes_on(
    server: Served, said: object, code: str, says: str
) -> None:
    async def run() -> None:
        async with talk(server) as client:
            await client.connection.send(json.dumps(said))
            heard = await client.hear()
            assert (heard["type"], heard["code"]) == ("error", code)
            assert says in heard["detail"]
            await client.subscribe()

    asyncio.run(run())


def test_a_subscription_is_made_once_and_there_are_only_so_many(server: Served) -> None:
    async def run() -> None:
        async with talk(server) as client:
            await client.subscribe()
            again = await client.ask(op="subscribe", **BITCOIN)
            assert "subscribed to already" in again["detail"]
            await client.subscribe("ETH-USDT")
            await client.subscribe(channel="quotes")
            more = {**BITCOIN, "channel": "quotes", "symbol": "ETH-USDT"}
            refused = await client.ask(op="subscribe", **more)
            assert "3 subscriptions are the most" in refused["detail"]

    asyncio.run(run())


def test_a_message_that_is_too_long_or_no_text_ends_the_connection(server: Served) -> None:
    async def closed_by(message: str | bytes) -> int:
        async with talk(server) as client:
            await client.connection.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                await client.hear()
            assert closed.value.rcvd is not None
            return closed.value.rcvd.code

    assert asyncio.run(closed_by("x" * 2_001)) == 1009
    assert asyncio.run(closed_by("x" * 200_000)) == 1009
    assert asyncio.run(closed_by(b"{}")) == 1003


def test_without_a_key_nothing_is_streamed(server: Served) -> None:
    async def run() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with talk(server, additional_headers={}):
                pass
        assert refused.value.response.status_code == 401
        assert b'"missing_key"' in refused.value.response.body

    asyncio.run(run())


def test_a_browser_gives_its_key_as_a_subprotocol(server: Served) -> None:
    async def run() -> None:
        offered = ["k2.v1", f"k2.key.{server.key}"]
        async with talk(server, additional_headers={}, subprotocols=offered) as client:
            assert client.connection.subprotocol == "k2.v1"
            await client.subscribe()

    asyncio.run(run())


def test_a_key_has_only_so_many_connections_and_those_that_left_leave_room(server: Served) -> None:
    async def run() -> None:
        wait_until(lambda: server.hub.connections == 0, "the end of those before")
        open_ones = [talk(server) for _ in range(6)]
        for one in open_ones:
            await one.__aenter__()
        with pytest.raises(InvalidStatus) as refused:
            async with talk(server):
                pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "5"
        assert b'"overloaded"' in refused.value.response.body
        await open_ones[0].__aexit__(None, None, None)
        wait_until(lambda: server.hub.connections == 5, "the end of one")
        async with talk(server) as client:
            await client.subscribe()
        for one in open_ones[1:]:
            await one.__aexit__(None, None, None)

    asyncio.run(run())


def test_a_client_that_vanishes_leaves_nothing_behind(server: Served) -> None:
    wait_until(lambda: server.hub.connections == 0, "the end of those before")

    async def run() -> None:
        async with talk(server) as client:
            subscribed = await client.subscribe()
            await client.subscribe("ETH-USDT", cursor=None)
            assert server.hub.streams == 2
            client.connection.transport.abort()
        assert subscribed["cursor"]

    asyncio.run(run())
    wait_until(lambda: server.hub.connections == 0, "the end of the connection")
    assert server.hub.streams == 0
    assert all(not topic.wanted for topic in server.hub._topics.values())


def test_without_kafka_a_stream_is_refused_with_what_to_do(server: Served) -> None:
    async def run() -> None:
        server.fed.off = True
        try:
            async with talk(server) as client:
                heard = await client.ask(op="subscribe", **BITCOIN)
        finally:
            server.fed.off = False
        assert (heard["type"], heard["code"]) == ("error", "live_off")
        assert "/v1/replay" in heard["detail"]

    asyncio.run(run())


def test_a_tail_that_goes_down_and_comes_back_is_told(server: Served) -> None:
    async def run() -> None:
        async with talk(server) as client:
            await client.subscribe()
            topic = server.hub._topics[Kind.TRADES, "binance"]
            await asyncio.wait_for(until(lambda: topic.tail == "live"), WITHIN_S)
            server.fed.down = True
            try:
                heard = await client.hear()
            finally:
                server.fed.down = False
            assert (heard["type"], heard["freshness"]["tail"]) == ("freshness", "down")
            assert (await client.hear())["freshness"]["tail"] == "live"

    asyncio.run(run())
