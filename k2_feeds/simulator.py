"""The exchanges on loopback: a WebSocket server with their addresses, messages and live trades.

One port serves all: ``/stream`` and ``/ws`` as Binance spot, ``/market/stream`` and ``/market/ws``
as USD-M futures, ``/binance_coinm/stream`` as COIN-M futures, ``/v2`` as Kraken, ``/coinbase`` and
``/bitstamp``. Run as ``python -m k2_feeds.simulator --port 0``: prints its
endpoint, ``ws://127.0.0.1:<port>``, on a line and serves until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from k2_feeds.dialects.binance import BinanceDialect
from k2_feeds.dialects.bitstamp import BitstampDialect
from k2_feeds.dialects.coinbase import CoinbaseDialect
from k2_feeds.dialects.dialect import Client, Dialect
from k2_feeds.dialects.kraken import KrakenDialect
from k2_feeds.synthetic import SYMBOLS, Fill, SyntheticMarket, is_contract

_STEP_S = 0.05
_HEARTBEAT_S = 1.0
HISTORY = 100_000
# Where contracts trade, and nothing else does.
_OF_CONTRACTS = ("binance_coinm",)


@dataclass
class SimulatedExchange:
    """One exchange: how it speaks, what trades there, who listens, what traded lately.

    ``history`` holds the newest HISTORY trades of each symbol in order of their ids, those that
    were withheld from the sockets as well.
    """

    dialect: Dialect
    market: SyntheticMarket
    clients: dict[ServerConnection, Client] = field(default_factory=dict)
    history: dict[str, deque[Fill]] = field(default_factory=dict)


@dataclass
class Simulator:
    """A running simulator. ``endpoint`` is what adapters take: ``ws://host:port``."""

    endpoint: str
    exchanges: dict[str, SimulatedExchange]

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(len(exchange.clients) for exchange in self.exchanges.values())


@asynccontextmanager
async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    symbols: Sequence[str] = SYMBOLS,
    rate: float = 5.0,
    seed: int = 1,
) -> AsyncIterator[Simulator]:
    """Simulated exchanges while the context lasts; on leaving, connections are closed.

    ``port`` 0 takes a free one. ``symbols`` are canonical; each trades
    ``rate`` times a second on each exchange that has it: contracts on COIN-M, pairs on all others.
    """
    exchanges = _exchanges(symbols, seed)
    by_path = {path: e for e in exchanges.values() for path in e.dialect.paths}

    async def attend(connection: ServerConnection) -> None:
        await _attend(by_path[urlsplit(_target(connection)).path], connection)

    async def admit(connection: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path in by_path:
            return None
        return connection.respond(HTTPStatus.NOT_FOUND, "No exchange has this path.\n")

    async with serve_websockets(attend, host, port, process_request=admit) as server:
        bound = server.sockets[0].getsockname()[1]
        simulator = Simulator(f"ws://{host}:{bound}", exchanges)
        beats = [_trade(simulator, rate), _heartbeat(simulator)]
        tasks = [asyncio.create_task(beat) for beat in beats]
        try:
            yield simulator
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _exchanges(symbols: Sequence[str], seed: int) -> dict[str, SimulatedExchange]:
    dialects: dict[str, Callable[[Callable[[str], bool]], Dialect]] = {
        "binance": BinanceDialect,
        "binance_usdm": partial(BinanceDialect, prefix="/market", execution_type=True),
        "binance_coinm": partial(BinanceDialect, prefix="/binance_coinm", execution_type=True),
        "kraken": KrakenDialect,
        "coinbase": CoinbaseDialect,
        "bitstamp": BitstampDialect,
    }
    exchanges = {}
    for number, (name, dialect) in enumerate(dialects.items()):
        traded = [s for s in symbols if is_contract(s) == (name in _OF_CONTRACTS)]
        market = SyntheticMarket(traded, _now_us(), seed + number)
        exchanges[name] = SimulatedExchange(dialect(market.__contains__), market)
    return exchanges


async def _attend(exchange: SimulatedExchange, connection: ServerConnection) -> None:
    client = Client(_target(connection))
    exchange.clients[connection] = client
    try:
        for frame in exchange.dialect.greet(client, datetime.now(UTC)):
            await connection.send(frame)
        async for message in connection:
            text = message if isinstance(message, str) else message.decode(errors="replace")
            for frame in exchange.dialect.answer(client, text, datetime.now(UTC)):
                await connection.send(frame)
    except ConnectionClosed:
        pass  # the client went without a closing handshake: its own business
    finally:
        del exchange.clients[connection]


async def _trade(simulator: Simulator, rate: float) -> None:
    while True:
        await asyncio.sleep(_STEP_S)
        for exchange in simulator.exchanges.values():
            for symbol, orders in exchange.market.advance(_now_us(), rate).items():
                _publish(exchange, symbol, orders)


def _publish(exchange: SimulatedExchange, symbol: str, orders: list[list[Fill]]) -> None:
    history = exchange.history.setdefault(symbol, deque(maxlen=HISTORY))
    history.extend(fill for order in orders for fill in order)
    for path in exchange.dialect.paths:
        listeners = [
            connection
            for connection, client in exchange.clients.items()
            if symbol in client.symbols and urlsplit(client.path).path == path
        ]
        for frame in exchange.dialect.trades(path, symbol, orders):
            broadcast(listeners, frame)


async def _heartbeat(simulator: Simulator) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_S)
        for exchange in simulator.exchanges.values():
            for connection, client in list(exchange.clients.items()):
                for frame in exchange.dialect.heartbeat(client, datetime.now(UTC)):
                    broadcast([connection], frame)


def _target(connection: ServerConnection) -> str:
    """Path and query that the client asked for; there always is a request once it is admitted."""
    return connection.request.path if connection.request is not None else "/"


def _now_us() -> int:
    return time.time_ns() // 1000


async def _main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    symbols = arguments.symbols.split(",")
    async with serve(
        arguments.host, arguments.port, symbols=symbols, rate=arguments.rate, seed=arguments.seed
    ) as simulator:
        if arguments.address_file is not None:
            draft = arguments.address_file.with_suffix(".new")
            draft.write_text(simulator.endpoint)
            draft.replace(arguments.address_file)
        sys.stdout.write(f"{simulator.endpoint}\n")
        sys.stdout.flush()
        await stop.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Simulated exchanges on a WebSocket port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--rate", type=float, default=5.0, help="trades a second, per symbol")
    parser.add_argument("--symbols", default=",".join(SYMBOLS), help="canonical, with commas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--address-file", type=Path, help="where to write the endpoint, too")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_main(_arguments()))
