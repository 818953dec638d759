"""Bitstamp: addresses, subscriptions, and what the frames of its public feed are about.

Source: "Websocket API v2" of Bitstamp (Subscriptions, Channels, Live ticker).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from k2_feeds.adapter import Adapter, Answer, Channel, Limits, Liveness, Parser, Route, legs
from k2_feeds.adapters import bitstamp_quotes, bitstamp_trades
from k2_feeds.parsing.faults import read_object, routed
from k2_market.kinds import Kind

_CHANNEL_OF = {Kind.TRADES: bitstamp_trades.CHANNEL, Kind.QUOTES: bitstamp_quotes.CHANNEL}
_OTHER_BOOKS = ("detail_order_book_", "diff_order_book_")
_ORDER_EVENTS = {"order_created", "order_changed", "order_deleted"}
_CONTROL_EVENTS = {
    "bts:subscription_succeeded",
    "bts:unsubscription_succeeded",
    "bts:error",
    "bts:heartbeat",
    "bts:request_reconnect",
}
_CHANNEL, _DATA_ENDS = b'"channel":"', (b'"event":"trade"}', b'"event":"data"}')
_UNKNOWN = Route(Channel.UNKNOWN)

# Silence means nothing: the server pings by WebSocket, and bts:heartbeat only answers the client's.
# "Maximum connection age is 90 days", and a request to reconnect comes before.
_LIVENESS = Liveness(silent_after_s=None, rotate_after_s=None)
# No numbers are documented. A refused channel is answered by an error that does not name it.
_LIMITS = Limits(streams=None, messages_per_s=20, one_at_a_time=True)


@dataclass(frozen=True)
class Bitstamp:
    """Bitstamp's markets: spot, and perpetuals counted in units of base."""

    exchange: str = "bitstamp"
    endpoint: str = "wss://ws.bitstamp.net"
    liveness: Liveness = _LIVENESS
    limits: Limits = _LIMITS
    backups: tuple[str, ...] = ()

    @property
    def parsers(self) -> Mapping[Kind, Parser]:
        """Trades and order books."""
        return _PARSERS

    def url(self, symbols: Sequence[str], kind: Kind, endpoint: str | None = None) -> str:  # noqa: ARG002
        """The host itself; ``<endpoint>/bitstamp`` where the endpoint is replaced."""
        return self.endpoint if endpoint is None else f"{endpoint}/bitstamp"

    def subscribe(self, symbols: Sequence[str], kind: Kind) -> list[str]:
        """A message for each channel."""
        messages = [
            {"event": "bts:subscribe", "data": {"channel": channel}}
            for channel in (self._channel(s, kind) for s in symbols)
        ]
        return [msgspec.json.encode(m).decode() for m in messages]

    def awaited(self, symbols: Sequence[str], kind: Kind) -> frozenset[str]:
        """The channels. A pair that does not exist is acknowledged too, and then silent."""
        return frozenset(self._channel(s, kind) for s in symbols)

    def answers(self, payload: bytes) -> list[Answer]:
        """``bts:subscription_succeeded`` with the channel, or ``bts:error``, mostly without one."""
        if payload.endswith(_DATA_ENDS):
            return []
        message = read_object(payload)
        channel = _text(message, "channel") or None
        if message.get("event") == "bts:subscription_succeeded":
            return [Answer(True, channel)]
        if message.get("event") == "bts:error":
            return [Answer(False, channel, _text(message.get("data"), "message") or "")]
        return []

    def announces_close(self, payload: bytes) -> bool:
        """``bts:request_reconnect``.

        "After you receive this request, you will have a few seconds to reconnect. Without doing so,
        you will automatically be disconnected."
        """
        return read_object(payload).get("event") == "bts:request_reconnect"

    def exchange_symbol(self, symbol: str) -> str:
        """``BTC-USD`` is ``btcusd``, ``BTC-USD-PERP`` is ``btcusd-perp``."""
        base, quote, contract = legs(symbol)
        return (f"{base}{quote}" + (f"-{contract}" if contract else "")).lower()

    def _channel(self, symbol: str, kind: Kind) -> str:
        return _CHANNEL_OF[kind] + self.exchange_symbol(symbol)

    def classify(self, payload: bytes) -> Route:
        """By the end of a frame, where data have channel and event, else by decoding."""
        if payload.endswith(_DATA_ENDS):
            start = payload.rfind(_CHANNEL) + len(_CHANNEL)
            route = _usual_route(payload[start : payload.find(b'"', start)])
            if route.channel is not Channel.UNKNOWN:
                return route
        return routed(payload, _route)


def _route(message: Any) -> Route:
    if not isinstance(message, dict):
        return _UNKNOWN
    event, channel = message.get("event"), _text(message, "channel") or ""
    if event in ("trade", "data"):
        return _usual_route(channel.encode(errors="replace"))
    if isinstance(event, str) and event in _CONTROL_EVENTS:
        return Route(Channel.CONTROL)
    if event == "funding_rate_saved" or (isinstance(event, str) and event in _ORDER_EVENTS):
        return Route(Channel.OTHER)
    return _UNKNOWN


@lru_cache(maxsize=8192)
def _usual_route(channel: bytes) -> Route:
    name = channel.decode(errors="replace")
    for kind, prefix in _CHANNEL_OF.items():
        if name.startswith(prefix) and name != prefix:
            return Route(Channel(kind), name.removeprefix(prefix))
    return Route(Channel.OTHER) if name.startswith(_OTHER_BOOKS) else _UNKNOWN


def _text(found: Any, name: str) -> str | None:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


_PARSERS = {
    Kind.TRADES: bitstamp_trades.parser(_route),
    Kind.QUOTES: bitstamp_quotes.parser(_route),
}

BITSTAMP: Adapter = Bitstamp()
