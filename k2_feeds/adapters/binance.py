"""Binance: addresses, subscriptions and what its frames are about, for spot and futures.

Sources: "WebSocket Streams for Binance" (General WSS information, Live Subscribing/Unsubscribing),
"Important WebSocket Change Notice" of 2026-03-06 (USD-M), "Websocket Market Streams" (COIN-M).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from k2_feeds.adapter import Adapter, Answer, Channel, Limits, Liveness, Parser, Route, legs
from k2_feeds.adapters import binance_quotes, binance_trades
from k2_feeds.parsing.faults import read_object, routed
from k2_market.kinds import Kind

# What follows the symbol in a stream's name, without its parameters: btcusdt@depth20@100ms.
_STREAMS = {
    "trade": Channel.TRADES,
    "aggTrade": Channel.TRADES,
    "bookTicker": Channel.QUOTES,
} | dict.fromkeys(
    (
        "depth rpiDepth kline continuousKline ticker miniTicker markPrice indexPrice forceOrder "
        "avgPrice compositeIndex contractInfo assetIndex"
    ).split(),
    Channel.OTHER,
)

# The field "e" of an event. Spot's bookTicker and partial depth have none.
_EVENTS = {
    "trade": Channel.TRADES,
    "aggTrade": Channel.TRADES,
    "bookTicker": Channel.QUOTES,
    "serverShutdown": Channel.CONTROL,
} | dict.fromkeys(
    (
        "depthUpdate kline continuous_kline 24hrTicker 24hrMiniTicker 1hTicker 4hTicker 1dTicker "
        "avgPrice markPriceUpdate indexPriceUpdate forceOrder compositeIndex contractInfo "
        "assetIndexUpdate"
    ).split(),
    Channel.OTHER,
)
# The stream to subscribe to.
_STREAM_OF = {Kind.TRADES: "trade", Kind.QUOTES: "bookTicker"}
_UNKNOWN = Route(Channel.UNKNOWN)
_STREAM, _EVENT, _SYMBOL = b'{"stream":"', b'{"e":"', b'"s":"'

_STREAMS_PER_MESSAGE = 200
# "WebSocket connections have a limit of 5 incoming messages per second", futures 10; "a single
# connection can listen to a maximum of 1024 streams". Of futures the pages say both 200 and 1024.
_SPOT_LIMITS, _FUTURES_LIMITS = Limits(1024, 5), Limits(200, 10)

# The server pings by WebSocket; a quiet symbol sends nothing. A connection lives 24 hours.
_LIVENESS = Liveness(silent_after_s=None, rotate_after_s=23.5 * 3600)


@dataclass(frozen=True)
class Binance:
    """One market of Binance. All of them share one protocol; address and path differ.

    ``shared_path`` is the path on an endpoint that stands for several exchanges.
    """

    exchange: str
    endpoint: str
    path: str
    shared_path: str
    liveness: Liveness = _LIVENESS
    limits: Limits = _FUTURES_LIMITS
    backups: tuple[str, ...] = ()

    @property
    def parsers(self) -> Mapping[Kind, Parser]:
        """All markets write their frames alike."""
        return _PARSERS

    def url(self, symbols: Sequence[str], kind: Kind, endpoint: str | None = None) -> str:  # noqa: ARG002
        """``wss://stream.binance.com:9443/stream``: frames then name their stream."""
        return self.endpoint + self.path if endpoint is None else endpoint + self.shared_path

    def subscribe(self, symbols: Sequence[str], kind: Kind) -> list[str]:
        """One SUBSCRIBE for every 200 symbols, numbered from 1."""
        streams = [f"{self.exchange_symbol(s).lower()}@{_STREAM_OF[kind]}" for s in symbols]
        messages = [
            {"method": "SUBSCRIBE", "params": part, "id": number}
            for number, part in enumerate(_chunks(streams), start=1)
        ]
        return [msgspec.json.encode(m).decode() for m in messages]

    def awaited(self, symbols: Sequence[str], kind: Kind) -> frozenset[str]:  # noqa: ARG002
        """The ids of the messages of ``subscribe``."""
        return frozenset(str(n) for n, _ in enumerate(_chunks(list(symbols)), start=1))

    def answers(self, payload: bytes) -> list[Answer]:
        """``{"result":null,"id":1}`` or ``{"error":{"code":2,"msg":"..."},"id":1}``."""
        if payload.startswith(_STREAM):
            return []
        message = read_object(payload)
        key = None if message.get("id") is None else str(message["id"])
        if "error" in message or ("code" in message and "msg" in message):
            return [Answer(False, key, str(message.get("error", message)))]
        return [Answer(True, key)] if "result" in message and key is not None else []

    def announces_close(self, payload: bytes) -> bool:
        """``serverShutdown``, sent ahead of a disconnection by the server."""
        return read_object(payload).get("e") == "serverShutdown"

    def exchange_symbol(self, symbol: str) -> str:
        """``BTC-USDT`` is ``BTCUSDT``, ``BTC-USD-PERP`` is ``BTCUSD_PERP`` (COIN-M)."""
        base, quote, contract = legs(symbol)
        return f"{base}{quote}" + (f"_{contract}" if contract else "")

    def classify(self, payload: bytes) -> Route:
        """By the stream's name, else by the event, else by decoding."""
        route = _UNKNOWN
        if payload.startswith(_STREAM):
            route = _stream_route(payload[len(_STREAM) : payload.find(b'"', len(_STREAM))])
        elif payload.startswith(_EVENT):
            route = _event_route(payload)
        return routed(payload, _route) if route.channel is Channel.UNKNOWN else route


def _chunks(streams: list[str]) -> list[list[str]]:
    size = _STREAMS_PER_MESSAGE
    return [streams[start : start + size] for start in range(0, len(streams), size)]


@lru_cache(maxsize=8192)
def _stream_route(name: bytes) -> Route:
    try:
        symbol, _, rest = name.decode().partition("@")
    except UnicodeDecodeError:
        return _UNKNOWN
    if "\\" in symbol:
        return _UNKNOWN
    # Streams of the whole market have no symbol: !bookTicker, !ticker_1h@arr.
    kind = symbol[1:] if symbol.startswith("!") else rest.partition("@")[0]
    channel = _STREAMS.get(kind.partition("_")[0].rstrip("0123456789"), Channel.UNKNOWN)
    return Route(channel, None if symbol.startswith("!") else symbol.upper())


def _event_route(payload: bytes) -> Route:
    event = payload[len(_EVENT) : payload.find(b'"', len(_EVENT))]
    start = payload.find(_SYMBOL)
    end = payload.find(b'"', start + len(_SYMBOL))
    if start < 0 or end < 0:
        return _UNKNOWN
    return _usual_route(event, payload[start + len(_SYMBOL) : end])


@lru_cache(maxsize=8192)
def _usual_route(event: bytes, symbol: bytes) -> Route:
    channel = _EVENTS.get(event.decode(errors="replace"), Channel.UNKNOWN)
    return Route(channel, symbol.decode(errors="replace"))


def _route(message: Any) -> Route:
    if isinstance(message, list):
        return Route(_route(message[0]).channel) if message else _UNKNOWN
    if not isinstance(message, dict):
        return _UNKNOWN
    if isinstance(message.get("stream"), str):
        route = _route(message.get("data"))
        return route if route.channel is not Channel.UNKNOWN else _route_of_silent_event(message)
    symbol = message["s"] if isinstance(message.get("s"), str) else None
    if "e" in message:
        return Route(_EVENTS.get(str(message["e"]), Channel.UNKNOWN), symbol)
    if message.keys() >= {"u", "s", "b", "B", "a", "A"}:
        return Route(Channel.QUOTES, symbol)
    if "lastUpdateId" in message:
        return Route(Channel.OTHER)
    if message.keys() & {"result", "error"} or message.keys() >= {"code", "msg"}:
        return Route(Channel.CONTROL)
    return _UNKNOWN


def _route_of_silent_event(message: dict[str, Any]) -> Route:
    """By the stream's name where the data do not say what they are."""
    data = message.get("data")
    if isinstance(data, dict) and "e" in data:
        return _UNKNOWN
    return _stream_route(message["stream"].encode(errors="replace"))


_PARSERS = {
    Kind.TRADES: binance_trades.parser(_route),
    Kind.QUOTES: binance_quotes.parser(_route),
}

# "The base endpoint is wss://stream.binance.com:9443 or wss://stream.binance.com:443", and
# "wss://data-stream.binance.vision can be subscribed to receive only market data messages".
BINANCE: Adapter = Binance(
    "binance",
    "wss://stream.binance.com:9443",
    "/stream",
    "/stream",
    limits=_SPOT_LIMITS,
    backups=("wss://stream.binance.com:443", "wss://data-stream.binance.vision"),
)
