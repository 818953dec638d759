"""The exchanges on loopback: a WebSocket server with their addresses, messages, trades and quotes.

One port serves all: ``/stream`` and ``/ws`` as Binance spot, ``/public/stream`` and ``/public/ws``
as USD-M futures, ``/binance_coinm/stream`` as COIN-M futures, ``/v2`` as Kraken, ``/coinbase`` and
``/bitstamp``. GETs of the exchanges' REST paths are answered there too.
``/control`` shows and changes what they do wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from k2_feeds.listings import LISTINGS
from k2_feeds.simulator.control import CONTROL, control, history, json_response, too_many_requests
from k2_feeds.simulator.dialects import histories, klines
from k2_feeds.simulator.dialects.binance import BinanceDialect
from k2_feeds.simulator.dialects.bitstamp import BitstampDialect
from k2_feeds.simulator.dialects.coinbase import CoinbaseDialect
from k2_feeds.simulator.dialects.dialect import Client, Dialect
from k2_feeds.simulator.dialects.kraken import KrakenDialect
from k2_feeds.simulator.dialects.listings import listing
from k2_feeds.simulator.disturbances import Disturbances
from k2_feeds.simulator.exchange import SimulatedExchange, Simulator, publish, send
from k2_feeds.simulator.synthetic import SYMBOLS, SyntheticMarket, is_contract

_STEP_S = 0.05
_HEARTBEAT_S = 1.0
# Where contracts trade, and nothing else does.
_OF_CONTRACTS = ("binance_coinm",)
# Whose list of instruments a GET of the path asks for.
LISTED_AT = {listing.path: exchange for exchange, listing in LISTINGS.items()}


@asynccontextmanager
async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    symbols: Sequence[str] = SYMBOLS,
    only: Collection[str] = (),
    rate: float = 5.0,
    seed: int = 1,
) -> AsyncIterator[Simulator]:
    """Simulated exchanges while the context lasts; on leaving, connections are closed.

    ``port`` 0 takes a free one. ``symbols`` are canonical; each trades ``rate`` times a second on
    each exchange that has it: contracts on COIN-M, pairs on all others. ``only`` names the
    exchanges that there are, all if it is empty.
    """
    exchanges = _exchanges(symbols, seed)
    exchanges = {name: e for name, e in exchanges.items() if not only or name in only}
    by_path = {path: e for e in exchanges.values() for path in e.dialect.paths}

    async def attend(connection: ServerConnection) -> None:
        await _attend(by_path[urlsplit(_target(connection)).path], connection)

    simulator = Simulator("", exchanges, rate)

    async def admit(connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path == CONTROL:
            return control(simulator, connection, request)
        if path in LISTED_AT:
            return _listing(exchanges[LISTED_AT[path]], LISTED_AT[path], connection)
        of_history = histories.exchange_of(path) or klines.exchange_of(path)
        if of_history is not None:
            return history(exchanges[of_history], connection, request)
        if path not in by_path:
            return connection.respond(HTTPStatus.NOT_FOUND, "No exchange has this path.\n")
        return too_many_requests(by_path[path], connection)

    async with serve_websockets(
        attend, host, port, process_request=admit, compression=None, max_queue=None
    ) as server:
        bound = server.sockets[0].getsockname()[1]
        simulator.endpoint = f"ws://{host}:{bound}"
        beats = [_trade(simulator), _heartbeat(simulator), _disconnect(simulator)]
        tasks = [asyncio.create_task(beat) for beat in beats]
        try:
            yield simulator
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _listing(exchange: SimulatedExchange, name: str, connection: ServerConnection) -> Response:
    refused = too_many_requests(exchange, connection)
    if refused is not None:
        return refused
    return json_response(connection, listing(name, exchange.market.symbols))


def _exchanges(symbols: Sequence[str], seed: int) -> dict[str, SimulatedExchange]:
    dialects: dict[str, Callable[[Callable[[str], bool]], Dialect]] = {
        "binance": BinanceDialect,
        "binance_usdm": partial(BinanceDialect, prefix="/public", futures=True),
        "binance_coinm": partial(BinanceDialect, prefix="/binance_coinm", futures=True),
        "kraken": KrakenDialect,
        "coinbase": CoinbaseDialect,
        "bitstamp": lambda known: BitstampDialect(known, rejects=wrongs["bitstamp"].rejects),
    }
    wrongs = {name: Disturbances() for name in dialects}
    exchanges = {}
    for number, (name, dialect) in enumerate(dialects.items()):
        traded = [s for s in symbols if is_contract(s) == (name in _OF_CONTRACTS)]
        market = SyntheticMarket(traded, _now_us(), seed + number)
        spoken = dialect(partial(_trades_there, market, wrongs[name]))
        exchanges[name] = SimulatedExchange(spoken, market, wrongs[name])
    return exchanges


def _trades_there(market: SyntheticMarket, wrong: Disturbances, symbol: str) -> bool:
    return symbol in market and not wrong.rejects(symbol)


async def _attend(exchange: SimulatedExchange, connection: ServerConnection) -> None:
    client = Client(_target(connection), since=asyncio.get_running_loop().time())
    exchange.clients[connection] = client
    try:
        send(exchange, [connection], exchange.dialect.greet(client, datetime.now(UTC)))
        async for message in connection:
            text = message if isinstance(message, str) else message.decode(errors="replace")
            answers = exchange.dialect.answer(client, text, datetime.now(UTC))
            send(exchange, [connection], answers)
    except ConnectionClosed:
        pass  # the client went without a closing handshake: its own business
    finally:
        del exchange.clients[connection]


async def _trade(simulator: Simulator) -> None:
    while True:
        await asyncio.sleep(_STEP_S)
        for exchange in simulator.exchanges.values():
            for symbol, orders in exchange.market.advance(_now_us(), simulator.rate).items():
                publish(exchange, symbol, orders)


async def _disconnect(simulator: Simulator) -> None:
    """End connections that are older than the exchange lets them be."""
    loop, closing = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    while True:
        await asyncio.sleep(_STEP_S)
        for exchange in simulator.exchanges.values():
            longest = exchange.disturbances.disconnect_s
            for connection, client in exchange.clients.items():
                old = longest and loop.time() - client.since > longest
                if not old or connection.state is not State.OPEN:
                    continue
                exchange.disconnects += 1
                if exchange.disturbances.abort:
                    connection.transport.abort()
                else:
                    closing.add(task := asyncio.create_task(connection.close(1001)))
                    task.add_done_callback(closing.discard)


async def _heartbeat(simulator: Simulator) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_S)
        for exchange in simulator.exchanges.values():
            for connection, client in list(exchange.clients.items()):
                beats = exchange.dialect.heartbeat(client, datetime.now(UTC))
                send(exchange, [connection], beats)


def _target(connection: ServerConnection) -> str:
    """Path and query that the client asked for; there always is a request once it is admitted."""
    return connection.request.path if connection.request is not None else "/"


def _now_us() -> int:
    return time.time_ns() // 1000
