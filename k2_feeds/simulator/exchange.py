"""One simulated exchange: what traded there, who listens, and what is written to them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from k2_feeds.simulator.dialects.dialect import Client, Dialect
from k2_feeds.simulator.disturbances import Disturbances
from k2_feeds.simulator.synthetic import Fill, SyntheticMarket, quote_after
from k2_feeds.simulator.traded import Ranges
from k2_market.kinds import Kind

HISTORY = 100_000


@dataclass
class SimulatedExchange:
    """One exchange: how it speaks, what trades there, who listens, what traded lately.

    ``history`` holds the newest HISTORY trades of each symbol in order of their ids, those that
    were withheld from the sockets as well. ``made`` are the ids of all trades by symbol, ``sent``
    of those that were written to a client that had asked for them; ``frames`` counts the frames.
    """

    dialect: Dialect
    market: SyntheticMarket
    disturbances: Disturbances
    clients: dict[ServerConnection, Client] = field(default_factory=dict)
    history: dict[str, deque[Fill]] = field(default_factory=dict)
    made: dict[str, Ranges] = field(default_factory=lambda: defaultdict(Ranges))
    sent: dict[str, Ranges] = field(default_factory=lambda: defaultdict(Ranges))
    frames: int = 0
    disconnects: int = 0


@dataclass
class Simulator:
    """A running simulator. ``endpoint`` is what adapters take: ``ws://host:port``.

    ``rate`` is trades a second of each symbol, and may be changed.
    """

    endpoint: str
    exchanges: dict[str, SimulatedExchange]
    rate: float

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(len(exchange.clients) for exchange in self.exchanges.values())


def publish(exchange: SimulatedExchange, symbol: str, orders: list[list[Fill]]) -> None:
    """Remember new trades of a symbol; write them and their quotes to those who asked for them."""
    if not orders:
        return
    history = exchange.history.setdefault(symbol, deque(maxlen=HISTORY))
    fills = [fill for order in orders for fill in order]
    history.extend(fills)
    exchange.made[symbol].add_all(fill.trade_id for fill in fills)
    orders = exchange.disturbances.shown(symbol, orders)
    heard = False
    for path in exchange.dialect.paths:
        listeners = _listeners(exchange, path, symbol, Kind.TRADES)
        frames = exchange.dialect.trades(path, symbol, orders)
        heard |= send(exchange, listeners, exchange.disturbances.disturb(frames))
        if watchers := _listeners(exchange, path, symbol, Kind.QUOTES):
            quotes = [quote_after(order[-1]) for order in orders if order]
            books = exchange.dialect.quotes(path, symbol, quotes)
            send(exchange, watchers, exchange.disturbances.disturb(books))
    if heard:
        exchange.sent[symbol].add_all(fill.trade_id for order in orders for fill in order)


def _listeners(
    exchange: SimulatedExchange, path: str, symbol: str, kind: Kind
) -> list[ServerConnection]:
    return [
        connection
        for connection, client in exchange.clients.items()
        if symbol in client.symbols[kind] and urlsplit(client.path).path == path
    ]


def send(
    exchange: SimulatedExchange, listeners: Sequence[ServerConnection], frames: Sequence[str]
) -> bool:
    """Write frames to those who are connected, all at once; whether anybody is."""
    if exchange.disturbances.silent:
        return False
    open_ones = [c for c in listeners if c.state is State.OPEN]
    for connection in open_ones:
        for frame in frames:
            connection.protocol.send_text(frame.encode())
        connection.transport.write(b"".join(connection.protocol.data_to_send()))
        _end_if_slow(exchange, connection)
    exchange.frames += len(frames) * len(open_ones)
    return bool(open_ones)


def _end_if_slow(exchange: SimulatedExchange, connection: ServerConnection) -> None:
    allowed = exchange.disturbances.slow_bytes
    if allowed and connection.transport.get_write_buffer_size() > allowed:
        exchange.disconnects += 1
        connection.transport.abort()
