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

from k2_feeds.dialects.dialect import Client, dump, request
from k2_feeds.synthetic import Fill
from k2_market.instruments import canonical_symbol

_STREAM = re.compile(r"[a-z0-9_]+@trade")


@dataclass
class BinanceDialect:
    """Binance: ``<prefix>/stream`` names the stream in each frame, ``<prefix>/ws`` does not.

    An unknown symbol is acknowledged like any other and stays silent; a stream that cannot be one
    is refused. ``execution_type`` adds X, as on USD-M futures.
    """

    known: Callable[[str], bool]
    prefix: str = ""
    execution_type: bool = False

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
            client.symbols -= {_of_stream(s) for s in streams}
        return [dump({"result": None, "id": number})]

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:
        """A frame for each fill."""
        name = exchange_symbol(symbol)
        events = [self._event(name, fill) for order in orders for fill in order]
        if path.endswith("/ws"):
            return events
        return [f'{{"stream":"{name.lower()}@trade","data":{event}}}' for event in events]

    def heartbeat(self, client: Client, now: datetime) -> list[str]:  # noqa: ARG002
        """Nothing: Binance pings by WebSocket."""
        return []

    def _subscribe(self, client: Client, streams: list[str]) -> None:
        client.symbols |= {s for s in map(_of_stream, streams) if self.known(s)}

    def _event(self, name: str, fill: Fill) -> str:
        time = fill.time_us // 1000
        event: dict[str, Any] = {"e": "trade", "E": time, "s": name, "t": fill.trade_id}
        event |= {"p": f"{fill.price:f}", "q": f"{fill.quantity:f}", "T": time}
        event["m"] = not fill.buy
        event |= {"X": "MARKET"} if self.execution_type else {"M": True}
        return dump(event)


def exchange_symbol(symbol: str) -> str:
    """``BTCUSDT`` of ``BTC-USDT``, ``BTCUSD_PERP`` of ``BTC-USD-PERP``."""
    return symbol.replace("-", "", 1).replace("-", "_")


def _of_stream(stream: str) -> str:
    return canonical_symbol(stream.partition("@")[0]) or ""
