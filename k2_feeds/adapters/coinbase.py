"""Coinbase Exchange: addresses, subscriptions, and what the frames of its public feed are about.

Sources: "Exchange WebSocket Overview" (Protocol, Subscribe, Errors) and "Exchange WebSocket
Channels" (Heartbeat, Ticker, Matches, Match) of Coinbase's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from k2_feeds.adapter import Adapter, Answer, Channel, Limits, Liveness, Parser, Route, legs
from k2_feeds.adapters import coinbase_quotes, coinbase_trades
from k2_feeds.parsing.faults import read_object, routed
from k2_market.kinds import Kind

_TYPES = (
    dict.fromkeys(("match", "last_match"), Channel.TRADES)
    | {"ticker": Channel.QUOTES}
    | dict.fromkeys(("heartbeat", "subscriptions", "error"), Channel.CONTROL)
    | dict.fromkeys(
        "status snapshot l2update received open done change activate auction rfq_match".split(),
        Channel.OTHER,
    )
)
# What the Advanced Trade feed says, which whoever connects there instead meets. Its market_trades
# stay unknown: whose side they name is another question.
_ADVANCED_TRADE = dict.fromkeys(("heartbeats", "subscriptions"), Channel.CONTROL) | dict.fromkeys(
    "l2_data ticker ticker_batch candles status".split(), Channel.OTHER
)
_CHANNEL_OF = {Kind.TRADES: "matches", Kind.QUOTES: "ticker"}
_DATA = tuple(_CHANNEL_OF.values())
_NO_ANSWER = (b'{"type":"match"', b'{"type":"ticker"', b'{"type":"heartbeat"')
_TYPE, _PRODUCT = b'{"type":"', b'"product_id":"'
_UNKNOWN = Route(Channel.UNKNOWN)
_NOT_A_PRODUCT = " is not a valid product"

# The heartbeat channel beats every second for each product.
_LIVENESS = Liveness(silent_after_s=10, rotate_after_s=None)
# "Requests per second per IP: 8" ("Exchange WebSocket Rate Limits"); each product is a request. The
# other host, ws-direct, wants a key.
_LIMITS = Limits(streams=None, messages_per_s=8)


@dataclass(frozen=True)
class Coinbase:
    """Coinbase's spot exchange."""

    exchange: str = "coinbase"
    endpoint: str = "wss://ws-feed.exchange.coinbase.com"
    liveness: Liveness = _LIVENESS
    limits: Limits = _LIMITS
    backups: tuple[str, ...] = ()

    @property
    def parsers(self) -> Mapping[Kind, Parser]:
        """Matches and tickers."""
        return _PARSERS

    def url(self, symbols: Sequence[str], kind: Kind, endpoint: str | None = None) -> str:  # noqa: ARG002
        """The host itself; ``<endpoint>/coinbase`` where the endpoint is replaced."""
        return self.endpoint if endpoint is None else f"{endpoint}/coinbase"

    def subscribe(self, symbols: Sequence[str], kind: Kind) -> list[str]:
        """A message for each product: one that is not known fails the whole message it is in."""
        return [_subscription(_CHANNEL_OF[kind], self.exchange_symbol(s)) for s in symbols]

    def awaited(self, symbols: Sequence[str], kind: Kind) -> frozenset[str]:  # noqa: ARG002
        """The products."""
        return frozenset(self.exchange_symbol(s) for s in symbols)

    def answers(self, payload: bytes) -> list[Answer]:
        """``subscriptions`` with all products so far, or ``error`` with a reason that names one."""
        if not payload.startswith(_NO_ANSWER):
            message = read_object(payload)
            if message.get("type") == "subscriptions":
                return [Answer(True, product) for product in _listed(message.get("channels"))]
            if message.get("type") == "error":
                return [_refusal(message)]
        return []

    def announces_close(self, payload: bytes) -> bool:  # noqa: ARG002
        """Coinbase has no such message."""
        return False

    def exchange_symbol(self, symbol: str) -> str:
        """``BTC-USD``, as the canonical one."""
        base, quote, _ = legs(symbol)
        return f"{base}-{quote}"

    def classify(self, payload: bytes) -> Route:
        """By the type that frames begin with, else by decoding."""
        if payload.startswith(_TYPE):
            name = payload[len(_TYPE) : payload.find(b'"', len(_TYPE))]
            route = _usual_route(name, _product(payload))
            if route.channel is not Channel.UNKNOWN:
                return route
        return routed(payload, _route)


def _subscription(channel: str, product: str) -> str:
    channels = [{"name": name, "product_ids": [product]} for name in (channel, "heartbeat")]
    return msgspec.json.encode({"type": "subscribe", "channels": channels}).decode()


def _listed(channels: Any) -> list[str]:
    """The products whose data are subscribed, in the list of a ``subscriptions`` message.

    A connection is of one kind, so it does not matter which.
    """
    listed = channels if isinstance(channels, list) else []
    found = [c for c in listed if isinstance(c, dict) and c.get("name") in _DATA]
    products = [
        p for c in found if isinstance(c.get("product_ids"), list) for p in c["product_ids"]
    ]
    return [p for p in products if isinstance(p, str)]


def _refusal(message: dict[str, Any]) -> Answer:
    """``{"type":"error",...,"reason":"X-USD is not a valid product"}``."""
    reason = str(message.get("reason", message.get("message", "")))
    product, found, _ = reason.partition(_NOT_A_PRODUCT)
    return Answer(False, product if found and product else None, reason)


def _route(message: Any) -> Route:
    if not isinstance(message, dict):
        return _UNKNOWN
    product = message.get("product_id")
    symbol = product if isinstance(product, str) else None
    if "type" in message:
        return Route(_TYPES.get(str(message["type"]), Channel.UNKNOWN), symbol)
    return Route(_ADVANCED_TRADE.get(str(message.get("channel")), Channel.UNKNOWN))


@lru_cache(maxsize=8192)
def _usual_route(name: bytes, product: bytes | None) -> Route:
    text = None if product is None else product.decode(errors="replace")
    return Route(_TYPES.get(name.decode(errors="replace"), Channel.UNKNOWN), text)


def _product(payload: bytes) -> bytes | None:
    start = payload.find(_PRODUCT)
    end = payload.find(b'"', start + len(_PRODUCT))
    return None if start < 0 or end < 0 else payload[start + len(_PRODUCT) : end]


_PARSERS = {
    Kind.TRADES: coinbase_trades.parser(_route),
    Kind.QUOTES: coinbase_quotes.parser(_route),
}

COINBASE: Adapter = Coinbase()
