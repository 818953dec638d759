"""Binance's server, of spot and futures.

Sources: "WebSocket Streams for Binance", "Live Subscribing/Unsubscribing to streams" (USD-M) and
"Websocket Market Streams" (COIN-M).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from k2_feeds.simulator.dialects.dialect import Client, dump, request
from k2_feeds.simulator.synthetic import Fill, Quote
from k2_market.instruments import canonical_symbol
from k2_market.kinds import Kind

_STREAM = re.compile(r"([a-z0-9_]+)@(trade|bookTicker)")
_KINDS = {"trade": Kind.TRADES, "bookTicker": Kind.QUOTES}


@dataclass
class BinanceDialect:
    """Binance: ``<prefix>/stream`` names the stream in each frame, ``<prefix>/ws`` does not.

    An unknown symbol is acknowledged like any other and stays silent; a stream that cannot be one
    is refused. ``futures`` adds X to trades, and event, E and T to book tickers.
    """

    known: Callable[[str], bool]
    prefix: str = ""
    futures: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """Combined and raw streams."""
        return f"{self.prefix}/stream", f"{self.prefix}/ws"

    def greet(self, client: Client, now: datetime) -> list[str]:  # noqa: ARG002
        """Nothing is said; streams may be in the address: ``?streams=a@trade/b@trade``."""
        for streams in parse_qs(urlsplit(client.path).query).get("streams", []):
            self._subscribe(client, streams.split("/"))
        return []

    def answer(self, client: Client, message: str, now: datetime) -> list[str]:  # noqa: ARG002
        """SUBSCRIBE and UNSUBSCRIBE are acknowledged by their id."""
        asked = request(message)
        number, streams = asked.get("id"), asked.get("params", [])
        if asked.get("method") not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return [dump({"error": {"code": 2, "msg": "Invalid request"}, "id": number})]
        if not all(isinstance(s, str) and _STREAM.fullmatch(s) for s in streams):
            refusal = {"code": 2, "msg": "Invalid request: unknown stream"}
            return [dump({"error": refusal, "id": number})]
        if asked["method"] == "SUBSCRIBE":
            self._subscribe(client, streams)
        else:
            for kind, symbol in map(_of_stream, streams):
                client.symbols[kind].discard(symbol)
        return [dump({"result": None, "id": number})]

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:
        """A frame for each fill."""
        name = exchange_symbol(symbol)
        events = [self._event(name, fill) for order in orders for fill in order]
        return _framed(path, f"{name.lower()}@trade", events)

    def quotes(self, path: str, symbol: str, quotes: list[Quote]) -> list[str]:
        """A frame for each quote."""
        name = exchange_symbol(symbol)
        events = [self._book_ticker(name, quote) for quote in quotes]
        return _framed(path, f"{name.lower()}@bookTicker", events)

    def heartbeat(self, client: Client, now: datetime) -> list[str]:  # noqa: ARG002
        """Nothing: Binance pings by WebSocket."""
        return []

    def _subscribe(self, client: Client, streams: list[str]) -> None:
        for kind, symbol in map(_of_stream, streams):
            if self.known(symbol):
                client.symbols[kind].add(symbol)

    def _event(self, name: str, fill: Fill) -> str:
        time = fill.time_us // 1000
        event: dict[str, Any] = {"e": "trade", "E": time, "s": name, "t": fill.trade_id}
        event |= {"p": f"{fill.price:f}", "q": f"{fill.quantity:f}", "T": time}
        event["m"] = not fill.buy
        event |= {"X": "MARKET"} if self.futures else {"M": True}
        return dump(event)

    def _book_ticker(self, name: str, quote: Quote) -> str:
        event: dict[str, Any] = {"e": "bookTicker"} if self.futures else {}
        event |= {"u": quote.update_id, "s": name}
        event |= {"b": f"{quote.bid_price:f}", "B": f"{quote.bid_quantity:f}"}
        event |= {"a": f"{quote.ask_price:f}", "A": f"{quote.ask_quantity:f}"}
        time = quote.time_us // 1000
        return dump(event | ({"T": time, "E": time} if self.futures else {}))


def exchange_symbol(symbol: str) -> str:
    """``BTCUSDT`` of ``BTC-USDT``, ``BTCUSD_PERP`` of ``BTC-USD-PERP``."""
    return symbol.replace("-", "", 1).replace("-", "_")


def _framed(path: str, stream: str, events: list[str]) -> list[str]:
    if path.endswith("/ws"):
        return events
    return [f'{{"stream":"{stream}","data":{event}}}' for event in events]


def _of_stream(stream: str) -> tuple[Kind, str]:
    """Kind and canonical symbol of a stream, an empty one where there is no such stream."""
    found = _STREAM.fullmatch(stream)
    if found is None:
        return Kind.TRADES, ""
    return _KINDS[found[2]], canonical_symbol(found[1]) or ""
