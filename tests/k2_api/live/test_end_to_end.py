"""From an exchange's socket to the reader's: simulator, feed, broker, tail, hub, WebSocket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from k2_api.app import create_app
from k2_api.serving import Server
from k2_assets.ingest import drain
from k2_feeds.adapters import adapter
from k2_feeds.kafka.broker import FOLDER, start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.live.feed import Feed, Plan, run_feeds
from k2_feeds.simulator.server import serve
from k2_lake.tables import TRADES_TABLE
from k2_market.kinds import Kind
from tests.feeds import running, until
from tests.k2_api.live.sockets import Talk, talk
from tests.keyed import fast_key
from tests.lakes import LakeDriver
from tests.services import wait_until

EXCHANGE, SYMBOLS = "kraken", ("BTC-USD", "ETH-USD")
SUBSCRIBED = [("trades", symbol) for symbol in SYMBOLS] + [("ohlcv.1m", SYMBOLS[0])]
BROKEN_OFF = 2
Id = tuple[str, str]
Row = dict[str, Any]


class Api:
    """The API of a home, as it is run by ``k2 api``."""

    def __init__(self, app: FastAPI, port: int, key: str) -> None:
        self.app, self.port = app, port
        self.headers = {"X-API-Key": key}

    def candles(self) -> dict[str, Row]:
        """The candles of the history, by window."""
        url = f"http://127.0.0.1:{self.port}/v1/ohlcv/1m?symbol={SYMBOLS[0]}&exchange={EXCHANGE}"
        with httpx2.Client(trust_env=False, headers=self.headers) as client:
            return {row["window_start"]: row for row in client.get(url).json()["data"]}


@contextmanager
def api(driver: LakeDriver) -> Iterator[Api]:
    app = create_app(driver.lake.settings)
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_until(lambda: server.started, "the API")
        yield Api(app, listening.getsockname()[1], fast_key(driver.lake.settings))
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


class Reader:
    """Follows both symbols, over connections that it breaks off now and then."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._cursors: dict[tuple[str, str], str | None] = dict.fromkeys(SUBSCRIBED)
        self.rows: list[Row] = []
        self.candles: dict[str, Row] = {}
        self.subscribed = asyncio.Event()
        self.connections = 0

    @property
    def ids(self) -> list[Id]:
        return [(row["symbol"], row["trade_id"]) for row in self.rows]

    async def follow(self) -> None:
        while True:
            async with talk(self._api) as client:
                self.connections += 1
                await self._listen(client)
                client.connection.transport.abort()

    async def _listen(self, client: Talk) -> None:
        for (channel, symbol), cursor in self._cursors.items():
            named = {"channel": channel, "exchange": EXCHANGE, "symbol": symbol}
            await client.say(op="subscribe", **named, cursor=cursor)
        messages = 0
        while messages < 6 or self.connections > BROKEN_OFF:
            heard = await client.hear()
            if heard["type"] == "trades":
                messages += 1
                self.rows += heard["data"]
            elif heard["type"] == "ohlcv":
                self.candles |= {row["window_start"]: row for row in heard["data"]}
            elif heard["type"] != "subscribed":
                assert heard["type"] == "freshness", heard
                continue
            self._cursors[heard["channel"], heard["symbol"]] = heard["cursor"]
            if None not in self._cursors.values():
                self.subscribed.set()


async def _scenario(driver: LakeDriver, kafka: KafkaSettings, running_api: Api) -> Reader:
    """Trades come with repeats and in disorder, tables follow, the reader comes and goes."""
    reader = Reader(running_api)
    async with serve(symbols=SYMBOLS, only=[EXCHANGE], rate=60) as simulator:
        faults = simulator.exchanges[EXCHANGE].disturbances
        for name, value in (("duplicate", "0.2"), ("disorder", "0.2"), ("disconnect", "1.5")):
            faults.set(name, value)
        plan = Plan(adapter(EXCHANGE), Kind.TRADES, SYMBOLS, (simulator.endpoint,))
        feed = Feed(plan, kafka, None)
        async with running(reader.follow()) as following:
            await reader.subscribed.wait()
            stop = asyncio.Event()
            async with running(run_feeds([feed], stop=stop)) as feeding:
                while reader.connections <= BROKEN_OFF:
                    await asyncio.to_thread(_tick, driver, kafka)
                    assert not following.done(), following.result()
                stop.set()
                await feeding
            while await asyncio.to_thread(_tick, driver, kafka):
                pass
            stored = {(str(r["symbol"]), str(r["trade_id"])) for r in driver.rows(TRADES_TABLE)}
            await asyncio.wait_for(until(lambda: len(reader.rows) >= len(stored)), 60)
            while reader.candles != await asyncio.to_thread(running_api.candles):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    return reader


def _tick(driver: LakeDriver, kafka: KafkaSettings) -> int:
    lag: int = drain(driver.lake, kafka, EXCHANGE, Kind.TRADES).lag
    driver.tick([EXCHANGE])
    return lag


def test_every_trade_that_an_exchange_sent_comes_once_over_disconnects_and_ticks(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    with start_broker(tmp_path / FOLDER) as broker, api(driver) as running_api:
        driver.lake.table(TRADES_TABLE)
        wait_until(
            lambda: running_api.app.state.tail.state(Kind.TRADES).tail == "live", "the tail", 30
        )
        reader = asyncio.run(_scenario(driver, broker.settings, running_api))
    stored = {(str(r["symbol"]), str(r["trade_id"])): r for r in driver.rows(TRADES_TABLE)}
    assert sorted(reader.ids) == sorted(stored)
    assert reader.connections > BROKEN_OFF
