"""Kraken spot, WebSocket v2: addresses, subscriptions and what its frames are about.

Sources: "Spot WebSocket v2" (Subscribe, Heartbeat, Status, Ping) of Kraken's API reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from k2_feeds.adapter import Adapter, Answer, Channel, Limits, Liveness, Parser, Route, legs
from k2_feeds.adapters import kraken_quotes, kraken_trades
from k2_feeds.parsing.faults import read_object, routed
from k2_market.kinds import Kind

_CHANNELS = {
    "trade": Channel.TRADES,
    "ticker": Channel.QUOTES,
    "heartbeat": Channel.CONTROL,
    "status": Channel.CONTROL,
} | dict.fromkeys(
    "book level3 ohlc instrument executions balances".split(),
    Channel.OTHER,
)
# Control messages of v1, which a session meets when it connects without /v2.
_V1_EVENTS = ("heartbeat", "systemStatus", "subscriptionStatus", "pong", "error")
# What to ask for. A ticker comes for every trade unless it is asked for changes of the best levels.
_ASKED = {
    Kind.TRADES: {"channel": "trade"},
    Kind.QUOTES: {"channel": "ticker", "event_trigger": "bbo"},
}
_CHANNEL, _SYMBOL = b'{"channel":"', b'"symbol":"'
_UNKNOWN = Route(Channel.UNKNOWN)

# A heartbeat comes every second in which nothing else does.
_LIVENESS = Liveness(silent_after_s=10, rotate_after_s=None)
# No number of symbols is documented; all of them go into one message.
_LIMITS = Limits(streams=None, messages_per_s=5)


@dataclass(frozen=True)
class Kraken:
    """Kraken's spot market."""

    exchange: str = "kraken"
    endpoint: str = "wss://ws.kraken.com"
    liveness: Liveness = _LIVENESS
    limits: Limits = _LIMITS
    backups: tuple[str, ...] = ()

    @property
    def parsers(self) -> Mapping[Kind, Parser]:
        """Trades and tickers."""
        return _PARSERS

    def url(self, symbols: Sequence[str], kind: Kind, endpoint: str | None = None) -> str:  # noqa: ARG002
        """``wss://ws.kraken.com/v2``."""
        return (endpoint or self.endpoint) + "/v2"

    def subscribe(self, symbols: Sequence[str], kind: Kind) -> list[str]:
        """One message for all symbols; the snapshot of 50 trades fills what a reconnect missed."""
        names = [self.exchange_symbol(s) for s in symbols]
        params = {**_ASKED[kind], "symbol": names, "snapshot": True}
        return [msgspec.json.encode({"method": "subscribe", "params": params}).decode()]

    def awaited(self, symbols: Sequence[str], kind: Kind) -> frozenset[str]:  # noqa: ARG002
        """Each symbol of a request is answered by a message of its own."""
        return frozenset(self.exchange_symbol(s) for s in symbols)

    def answers(self, payload: bytes) -> list[Answer]:
        """``success`` is true with ``result.symbol``, or false with ``error`` and ``symbol``."""
        if payload.startswith(_CHANNEL):
            return []
        message = read_object(payload)
        if message.get("method") not in ("subscribe", "error"):
            return []
        if message.get("success") is True:
            return [Answer(True, _text(message.get("result"), "symbol"))]
        return [Answer(False, _text(message, "symbol"), str(message.get("error", "")))]

    def announces_close(self, payload: bytes) -> bool:  # noqa: ARG002
        """Kraken has no such message."""
        return False

    def exchange_symbol(self, symbol: str) -> str:
        """``BTC-USDT`` is ``BTC/USDT``: v2 says BTC and DOGE where v1 said XBT and XDG."""
        base, quote, _ = legs(symbol)
        return f"{base}/{quote}"

    def classify(self, payload: bytes) -> Route:
        """By the channel that every frame of v2 begins with, else by decoding."""
        if payload.startswith(_CHANNEL):
            name = payload[len(_CHANNEL) : payload.find(b'"', len(_CHANNEL))]
            route = _usual_route(name, _first_symbol(payload))
            if route.channel is not Channel.UNKNOWN:
                return route
        return routed(payload, _route)


def _route(message: Any) -> Route:
    if not isinstance(message, dict):
        return _UNKNOWN
    name = message.get("channel")
    if isinstance(name, str):
        return Route(_CHANNELS.get(name, Channel.UNKNOWN), _symbol_of(message.get("data")))
    if "method" in message or message.get("event") in _V1_EVENTS:
        return Route(Channel.CONTROL)
    return _UNKNOWN


def _symbol_of(data: Any) -> str | None:
    return _text(data[0], "symbol") if isinstance(data, list) and data else None


@lru_cache(maxsize=8192)
def _usual_route(channel: bytes, symbol: bytes | None) -> Route:
    name = channel.decode(errors="replace")
    text = None if symbol is None else symbol.decode(errors="replace")
    return Route(_CHANNELS.get(name, Channel.UNKNOWN), text)


def _first_symbol(payload: bytes) -> bytes | None:
    start = payload.find(_SYMBOL)
    end = payload.find(b'"', start + len(_SYMBOL))
    return None if start < 0 or end < 0 else payload[start + len(_SYMBOL) : end]


def _text(found: Any, name: str) -> str | None:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


_PARSERS = {
    Kind.TRADES: kraken_trades.parser(_route),
    Kind.QUOTES: kraken_quotes.parser(_route),
}

KRAKEN: Adapter = Kraken()
