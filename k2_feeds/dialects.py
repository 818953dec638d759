"""What the exchanges' servers say, for the simulator: greetings, answers, trades, heartbeats.

A dialect is the server's side of an adapter. Sources: "WebSocket Streams for Binance", "Live
Subscribing/Unsubscribing to streams" (USD-M futures) and Kraken's "Spot WebSocket v2" (Status,
Subscribe, Trade, Heartbeat).
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from k2_feeds.synthetic import Fill
from k2_market.instruments import canonical_symbol

_STREAM = re.compile(r"[a-z0-9_]+@trade")
_SNAPSHOT_TRADES = 50


@dataclass
class Client:
    """What a connection asked for: its path with query, and canonical symbols by format."""

    path: str
    symbols: set[str] = field(default_factory=set)


class Dialect(Protocol):
    """One exchange's server. ``now`` is an aware instant; texts are whole frames."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths it serves."""

    def greet(self, client: Client, now: datetime) -> list[str]:
        """What it sends to a new connection."""

    def answer(self, client: Client, message: str, now: datetime) -> list[str]:
        """What it sends back, ``client.symbols`` changed accordingly."""

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:
        """The frames of these orders on connections of this path."""

    def heartbeat(self) -> str | None:
        """What it sends every second, None for nothing."""


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
        request = _request(message)
        number, streams = request.get("id"), request.get("params", [])
        if request.get("method") not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return [_dump({"error": {"code": 2, "msg": "Invalid request"}, "id": number})]
        if not all(isinstance(s, str) and _STREAM.fullmatch(s) for s in streams):
            refusal = {"code": 2, "msg": "Invalid request: unknown stream"}
            return [_dump({"error": refusal, "id": number})]
        if request["method"] == "SUBSCRIBE":
            self._subscribe(client, streams)
        else:
            client.symbols -= {_of_stream(s) for s in streams}
        return [_dump({"result": None, "id": number})]

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:
        """A frame for each fill."""
        name = symbol.replace("-", "")
        events = [self._event(name, fill) for order in orders for fill in order]
        if path.endswith("/ws"):
            return events
        return [f'{{"stream":"{name.lower()}@trade","data":{event}}}' for event in events]

    def heartbeat(self) -> str | None:
        """None: Binance pings by WebSocket."""
        return None

    def _subscribe(self, client: Client, streams: list[str]) -> None:
        client.symbols |= {s for s in map(_of_stream, streams) if self.known(s)}

    def _event(self, name: str, fill: Fill) -> str:
        time = fill.time_us // 1000
        event: dict[str, Any] = {"e": "trade", "E": time, "s": name, "t": fill.trade_id}
        event |= {"p": f"{fill.price:f}", "q": f"{fill.quantity:f}", "T": time}
        event["m"] = not fill.buy
        event |= {"X": "MARKET"} if self.execution_type else {"M": True}
        return _dump(event)


@dataclass
class KrakenDialect:
    """Kraken v2: a status on connect, an answer for each symbol, a heartbeat each second."""

    known: Callable[[str], bool]
    paths: tuple[str, ...] = ("/v2",)
    _recent: dict[str, deque[Fill]] = field(default_factory=dict)

    def greet(self, client: Client, now: datetime) -> list[str]:  # noqa: ARG002
        """The status of the trading engine, its connection_id above 2^63 as seen live."""
        number = 2**63 + int(now.timestamp() * 1e6)
        status = {"api_version": "v2", "connection_id": number, "system": "online"}
        data = [{**status, "version": "2.0.7"}]
        return [_dump({"channel": "status", "data": data, "type": "update"})]

    def answer(self, client: Client, message: str, now: datetime) -> list[str]:
        """Each symbol is accepted or refused by itself; pings are answered."""
        request = _request(message)
        times = {"time_in": _iso(now), "time_out": _iso(now)}
        if request.get("method") == "ping":
            return [_dump({"method": "pong", **times})]
        params = request.get("params", {})
        if request.get("method") != "subscribe" or params.get("channel") != "trade":
            return [_dump({"error": "Unsupported request", "success": False, **times})]
        answers = [self._subscribe(client, name, params, times) for name in params["symbol"]]
        return [frame for frames in answers for frame in frames]

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:  # noqa: ARG002
        """A frame for each order, with all its fills."""
        recent = self._recent.setdefault(symbol, deque(maxlen=_SNAPSHOT_TRADES))
        recent.extend(fill for order in orders for fill in order)
        return [_trade_frame("update", symbol, order) for order in orders]

    def heartbeat(self) -> str | None:
        """Always the same."""
        return '{"channel":"heartbeat"}'

    def _subscribe(
        self, client: Client, name: str, params: Mapping[str, Any], times: Mapping[str, str]
    ) -> list[str]:
        symbol = canonical_symbol(name)
        if symbol is None or not self.known(symbol):
            error = f"Currency pair not supported {name}"
            refusal = {"error": error, "method": "subscribe", "success": False, "symbol": name}
            return [_dump({**refusal, **times})]
        client.symbols.add(symbol)
        snapshot = params.get("snapshot", True)
        result = {"channel": "trade", "snapshot": snapshot, "symbol": name}
        accepted = {"method": "subscribe", "result": result, "success": True, **times}
        recent = list(self._recent.get(symbol, ()))
        newest = [_trade_frame("snapshot", symbol, recent)] if snapshot and recent else []
        return [_dump(accepted), *newest]


def _trade_frame(kind: str, symbol: str, fills: list[Fill]) -> str:
    name = symbol.replace("-", "/")
    rows = ",".join(_trade_row(name, fill) for fill in fills)
    return f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'


def _trade_row(name: str, fill: Fill) -> str:
    # By hand: the numbers must be written with their digits, not through a float.
    return (
        f'{{"symbol":"{name}","side":"{"buy" if fill.buy else "sell"}","price":{fill.price:f},'
        f'"qty":{fill.quantity:f},"ord_type":"{"limit" if fill.limit_order else "market"}",'
        f'"trade_id":{fill.trade_id},"timestamp":"{_iso_us(fill.time_us)}"}}'
    )


def _request(message: str) -> dict[str, Any]:
    try:
        request = json.loads(message)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def _of_stream(stream: str) -> str:
    return canonical_symbol(stream.partition("@")[0]) or ""


def _iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _iso_us(micros: int) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    return _iso(datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest))


def _dump(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
