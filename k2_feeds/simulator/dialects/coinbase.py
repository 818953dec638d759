"""Coinbase's server.

Sources: "Exchange WebSocket Overview" (Subscribe, Errors), "Exchange WebSocket Channels"
(Heartbeat, Match, Ticker).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from k2_feeds.simulator.dialects.dialect import Client, dump, iso, iso_us, request
from k2_feeds.simulator.synthetic import Fill, Quote, quote_after
from k2_market.kinds import Kind

_KINDS = {"matches": Kind.TRADES, "ticker": Kind.QUOTES}


@dataclass
class CoinbaseDialect:
    """Coinbase: every answer lists all subscriptions; the last match or ticker before comes first.

    An unknown product fails the message that it is in. Any channel brings ``heartbeat`` with it.
    """

    known: Callable[[str], bool]
    paths: tuple[str, ...] = ("/coinbase",)
    _last: dict[str, Fill] = field(default_factory=dict)

    def greet(self, client: Client, now: datetime) -> list[str]:  # noqa: ARG002
        """Nothing."""
        return []

    def answer(self, client: Client, message: str, now: datetime) -> list[str]:  # noqa: ARG002
        """All subscriptions so far, then the last match of each new product; or an error."""
        asked = request(message)
        if asked.get("type") != "subscribe":
            return [_error("Malformed JSON")]
        channels = [c for c in asked.get("channels", []) if isinstance(c, dict)]
        products = {str(p) for channel in channels for p in channel.get("product_ids", [])}
        unknown = sorted(p for p in products if not self.known(p))
        if unknown or not products:
            return [_error(f"{''.join(unknown[:1])} is not a valid product")]
        kinds = [kind for name, kind in _KINDS.items() if name in [c.get("name") for c in channels]]
        newest = [frame for kind in kinds for frame in self._subscribe(client, kind, products)]
        return [_subscriptions(client), *newest]

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:  # noqa: ARG002
        """A match for each fill."""
        fills = [fill for order in orders for fill in order]
        if fills:
            self._last[symbol] = fills[-1]
        return [_match("match", symbol, fill) for fill in fills]

    def quotes(self, path: str, symbol: str, quotes: list[Quote]) -> list[str]:  # noqa: ARG002
        """A ticker for each quote."""
        return [_ticker(symbol, quote) for quote in quotes]

    def heartbeat(self, client: Client, now: datetime) -> list[str]:
        """One for each product."""
        return [self._beat(product, now) for product in sorted(_products(client))]

    def _subscribe(self, client: Client, kind: Kind, products: set[str]) -> list[str]:
        new = sorted(products - client.symbols[kind])
        client.symbols[kind] |= products
        return [self._newest(kind, product) for product in new if product in self._last]

    def _newest(self, kind: Kind, product: str) -> str:
        last = self._last[product]
        if kind is Kind.QUOTES:
            return _ticker(product, quote_after(last))
        return _match("last_match", product, last)

    def _beat(self, product: str, now: datetime) -> str:
        last = self._last[product].trade_id if product in self._last else 0
        beat = {"type": "heartbeat", "sequence": last, "last_trade_id": last}
        return dump({**beat, "product_id": product, "time": iso(now)})


def _match(kind: str, product: str, fill: Fill) -> str:
    """``side`` is the maker's: the other than the taker's."""
    message: dict[str, Any] = {"type": kind, "trade_id": fill.trade_id}
    message |= {"maker_order_id": str(UUID(int=2 * fill.trade_id))}
    message |= {"taker_order_id": str(UUID(int=2 * fill.trade_id + 1))}
    message |= {"side": "sell" if fill.buy else "buy", "size": f"{fill.quantity:f}"}
    message |= {"price": f"{fill.price:f}", "product_id": product, "sequence": fill.trade_id}
    return dump({**message, "time": iso_us(fill.time_us)})


def _ticker(product: str, quote: Quote) -> str:
    fill = quote.fill
    message: dict[str, Any] = {"type": "ticker", "sequence": quote.update_id}
    message |= {"product_id": product, "price": f"{fill.price:f}"}
    message |= {"best_bid": f"{quote.bid_price:f}", "best_bid_size": f"{quote.bid_quantity:f}"}
    message |= {"best_ask": f"{quote.ask_price:f}", "best_ask_size": f"{quote.ask_quantity:f}"}
    message |= {"side": "buy" if fill.buy else "sell", "time": iso_us(quote.time_us)}
    return dump({**message, "trade_id": fill.trade_id, "last_size": f"{fill.quantity:f}"})


def _subscriptions(client: Client) -> str:
    listed = {name: client.symbols[kind] for name, kind in _KINDS.items()}
    listed["heartbeat"] = _products(client)
    channels = [{"name": n, "product_ids": sorted(p)} for n, p in listed.items() if p]
    return dump({"type": "subscriptions", "channels": channels})


def _products(client: Client) -> set[str]:
    return set().union(*client.symbols.values())


def _error(reason: str) -> str:
    return dump({"type": "error", "message": "Failed to subscribe", "reason": reason})
