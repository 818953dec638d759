"""Kraken's server. Source: "Spot WebSocket v2" (Status, Subscribe, Trade, Heartbeat)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from k2_feeds.simulator.dialects.dialect import Client, dump, iso, iso_us, request
from k2_feeds.simulator.synthetic import Fill, Quote, quote_after
from k2_market.instruments import canonical_symbol
from k2_market.kinds import Kind

_SNAPSHOT_TRADES = 50
_KINDS = {"trade": Kind.TRADES, "ticker": Kind.QUOTES}


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
        return [dump({"channel": "status", "data": data, "type": "update"})]

    def answer(self, client: Client, message: str, now: datetime) -> list[str]:
        """Each symbol is accepted or refused by itself; pings are answered."""
        asked = request(message)
        times = {"time_in": iso(now), "time_out": iso(now)}
        if asked.get("method") == "ping":
            return [dump({"method": "pong", **times})]
        params = asked.get("params", {})
        if asked.get("method") != "subscribe" or params.get("channel") not in _KINDS:
            return [dump({"error": "Unsupported request", "success": False, **times})]
        answers = [self._subscribe(client, name, params, times) for name in params["symbol"]]
        return [frame for frames in answers for frame in frames]

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:  # noqa: ARG002
        """A frame for each order, with all its fills."""
        recent = self._recent.setdefault(symbol, deque(maxlen=_SNAPSHOT_TRADES))
        recent.extend(fill for order in orders for fill in order)
        return [_trade_frame("update", symbol, order) for order in orders]

    def quotes(self, path: str, symbol: str, quotes: list[Quote]) -> list[str]:  # noqa: ARG002
        """A frame for each quote."""
        return [_ticker_frame("update", symbol, quote) for quote in quotes]

    def heartbeat(self, client: Client, now: datetime) -> list[str]:  # noqa: ARG002
        """Always the same."""
        return ['{"channel":"heartbeat"}']

    def _subscribe(
        self, client: Client, name: str, params: Mapping[str, Any], times: Mapping[str, str]
    ) -> list[str]:
        symbol = canonical_symbol(name)
        if symbol is None or not self.known(symbol):
            error = f"Currency pair not supported {name}"
            refusal = {"error": error, "method": "subscribe", "success": False, "symbol": name}
            return [dump({**refusal, **times})]
        kind = _KINDS[params["channel"]]
        client.symbols[kind].add(symbol)
        snapshot = params.get("snapshot", True)
        result = {k: params[k] for k in ("channel", "event_trigger") if k in params}
        result |= {"snapshot": snapshot, "symbol": name}
        accepted = {"method": "subscribe", "result": result, "success": True, **times}
        return [dump(accepted), *(self._newest(kind, symbol) if snapshot else [])]

    def _newest(self, kind: Kind, symbol: str) -> list[str]:
        recent = list(self._recent.get(symbol, ()))
        if not recent:
            return []
        if kind is Kind.QUOTES:
            return [_ticker_frame("snapshot", symbol, quote_after(recent[-1]))]
        return [_trade_frame("snapshot", symbol, recent)]


def _trade_frame(kind: str, symbol: str, fills: list[Fill]) -> str:
    name = symbol.replace("-", "/")
    rows = ",".join(_trade_row(name, fill) for fill in fills)
    return f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'


def _trade_row(name: str, fill: Fill) -> str:
    # By hand: the numbers must be written with their digits, not through a float.
    return (
        f'{{"symbol":"{name}","side":"{"buy" if fill.buy else "sell"}","price":{fill.price:f},'
        f'"qty":{fill.quantity:f},"ord_type":"{"limit" if fill.limit_order else "market"}",'
        f'"trade_id":{fill.trade_id},"timestamp":"{iso_us(fill.time_us)}"}}'
    )


def _ticker_frame(kind: str, symbol: str, quote: Quote) -> str:
    row = (
        f'{{"symbol":"{symbol.replace("-", "/")}","bid":{quote.bid_price:f},'
        f'"bid_qty":{quote.bid_quantity:f},"ask":{quote.ask_price:f},'
        f'"ask_qty":{quote.ask_quantity:f},"last":{quote.fill.price:f},'
        f'"timestamp":"{iso_us(quote.time_us)}"}}'
    )
    return f'{{"channel":"ticker","type":"{kind}","data":[{row}]}}'
