from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from k2_api.live.settings import LiveSettings
from tests.k2_api.live.hand_fed import Served, filled_lake, ids, served
from tests.k2_api.live.sockets import WITHIN_S, talk
from tests.services import wait_until

BOTH = "channels=trades&exchange=binance&symbol=btcusdt,ETH-USDT"


class Event(NamedTuple):
    kind: str
    id: str
    data: dict[str, Any]


class Heard:
    """What comes, event by event; comments are counted."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.aiter_lines()
        self.comments = 0

    async def event(self) -> Event:
        return await asyncio.wait_for(self._event(), WITHIN_S)

    async def _event(self) -> Event:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line and "event" in fields:
                return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            name, _, value = line.partition(": ")
            self.comments += line.startswith(":")
            fields[name] = value
        raise EOFError

    async def rows(self, count: int) -> list[Event]:
        """The events with so many rows and no more."""
        found: list[Event] = []
        while sum(len(e.data["data"]) for e in found) < count:
            found.append(await self.event())
            assert found[-1].kind == "trades", found[-1]
        assert sum(len(e.data["data"]) for e in found) == count
        return found


@asynccontextmanager
async def listening(
    server: Served, query: str = BOTH, last: str | None = None
) -> AsyncIterator[Heard]:
    headers = {**server.headers, **({} if last is None else {"Last-Event-ID": last})}
    url = f"http://127.0.0.1:{server.port}/v1/live?{query}"
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=30) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        heard = Heard(response)
        subscribed = await heard.event()
        assert subscribed.kind == "subscribed"
        assert subscribed.id == subscribed.data["cursor"]
        yield heard


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    driver = filled_lake(tmp_path_factory.mktemp("events"))
    settings = LiveSettings(heartbeat_s=0.3, subscriptions=4)
    with served(driver, settings) as running:
        yield running


def mixed(server: Served) -> list[list[int]]:
    """Three batches of trades of both symbols, the ids of each in the order in which events are."""
    expected = []
    for _ in range(3):
        bitcoin, ether = server.fed.trades(2), server.fed.trades(3, "ETHUSDT")
        server.fed.give([ether[0], *bitcoin, *ether[1:]])
        expected += [[p.trade_id for p in bitcoin], [p.trade_id for p in ether]]
    return expected


def test_events_come_for_every_symbol_and_any_id_resumes_exactly_behind_it(server: Served) -> None:
    async def run() -> None:
        async with listening(server) as heard:
            expected = mixed(server)
            events = await heard.rows(15)
        assert [ids([e.data]) for e in events] == expected
        assert [e.data["symbol"] for e in events] == ["BTC-USDT", "ETH-USDT"] * 3
        await asyncio.to_thread(server.fed.store)
        expected += mixed(server)
        for passed, event in enumerate(events, 1):
            rest = expected[passed:]
            async with listening(server, last=event.id) as heard:
                resumed = await heard.rows(sum(map(len, rest)))
            for symbol in ("BTC-USDT", "ETH-USDT"):
                found = ids([e.data for e in resumed if e.data["symbol"] == symbol])
                of_it = [i for n, part in enumerate(expected) for i in part if _of(n) == symbol]
                assert found == of_it[len(of_it) - len(found) :]

    asyncio.run(run())


def _of(number: int) -> str:
    return ("BTC-USDT", "ETH-USDT")[number % 2]


def test_a_connection_on_which_nothing_happens_is_kept_open_by_comments(server: Served) -> None:
    async def run() -> None:
        async with listening(server) as heard:
            waiting = asyncio.create_task(heard.event())
            while heard.comments < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            server.fed.give(server.fed.trades(1))
            assert (await waiting).kind == "trades"

    asyncio.run(run())


def test_a_listener_that_vanishes_leaves_nothing_behind(server: Served) -> None:
    wait_until(lambda: server.hub.connections == 0, "the end of those before")

    async def run() -> None:
        async with listening(server):
            assert server.hub.streams == 1

    asyncio.run(run())
    wait_until(lambda: server.hub.connections == 0, "the end of the connection")
    assert server.hub.streams == 0


@pytest.mark.parametrize(
    ("query", "status", "code", "says"),
    [
        ("exchange=binance", 422, "invalid_parameter", "symbol"),
        ("exchange=binance&symbol=DOGE-USDT", 404, "unknown_symbol", "DOGE-USDT"),
        ("exchange=nyse&symbol=BTC-USDT", 404, "unknown_exchange", "nyse"),
        (f"{BOTH}&channels=books", 404, "unknown_channel", "books"),
        (f"{BOTH}&cursor=AAAA", 422, "invalid_parameter", "cursor"),
        (f"{BOTH}&key=abc", 422, "invalid_parameter", "key"),
        (
            f"{BOTH},ETHUSDT&channels=trades,quotes,ohlcv.1m",
            *(422, "invalid_parameter", "4 are the most"),
        ),
    ],
)
def test_what_cannot_be_streamed_is_a_problem_and_no_stream(
    server: Served, query: str, status: int, code: str, says: str
) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/live?{query}"
    with httpx2.Client(trust_env=False, headers=server.headers) as client:
        response = client.get(url)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert says in response.json()["detail"]


def test_without_kafka_there_are_no_events_and_it_is_said_what_there_is(server: Served) -> None:
    server.fed.off = True
    try:
        with httpx2.Client(trust_env=False, headers=server.headers) as client:
            response = client.get(f"http://127.0.0.1:{server.port}/v1/live?{BOTH}")
    finally:
        server.fed.off = False
    assert (response.status_code, response.json()["code"]) == (503, "live_off")
    assert response.headers["Retry-After"] == "60"


def test_without_a_key_there_are_no_events(server: Served) -> None:
    with httpx2.Client(trust_env=False) as client:
        response = client.get(f"http://127.0.0.1:{server.port}/v1/live?{BOTH}")
    assert (response.status_code, response.json()["code"]) == (401, "missing_key")


def test_a_server_that_stops_tells_everybody_to_come_back(tmp_path: Path) -> None:
    async def run(server: Served) -> None:
        async with talk(server) as client, listening(server) as heard:
            subscribed = await client.subscribe()
            server.server.should_exit = True
            with pytest.raises(ConnectionClosed) as closed:
                await client.hear()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            last = await heard.event()
            assert (last.kind, last.data["code"]) == ("error", "server_stopping")
            with pytest.raises(EOFError):
                await heard.event()
        assert subscribed["cursor"]

    with served(filled_lake(tmp_path)) as running:
        asyncio.run(run(running))
