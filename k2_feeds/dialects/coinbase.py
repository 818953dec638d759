"""Coinbase's server.

Sources: "Exchange WebSocket Overview" (Subscribe, Errors), "Exchange WebSocket Channels"
(Heartbeat, Match).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from k2_feeds.dialects.dialect import Client, dump, iso, iso_us, request
from k2_feeds.synthetic import Fill


@dataclass
class CoinbaseDialect:
    """Coinbase: every answer lists all subscriptions; the last match before comes first.

    An unknown product fails the message that it is in. ``matches`` brings ``heartbeat`` with it.
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
        new = sorted(products - client.symbols)
        client.symbols |= products
        last = [_match("last_match", p, self._last[p]) for p in new if p in self._last]
        return [_subscriptions(client), *last]

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:  # noqa: ARG002
        """A match for each fill."""
        fills = [fill for order in orders for fill in order]
        if fills:
            self._last[symbol] = fills[-1]
        return [_match("match", symbol, fill) for fill in fills]

    def heartbeat(self, client: Client, now: datetime) -> list[str]:
        """One for each product."""
        return [self._beat(product, now) for product in sorted(client.symbols)]

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


def _subscriptions(client: Client) -> str:
    products = sorted(client.symbols)
    channels = [{"name": name, "product_ids": products} for name in ("matches", "heartbeat")]
    return dump({"type": "subscriptions", "channels": channels})


def _error(reason: str) -> str:
    return dump({"type": "error", "message": "Failed to subscribe", "reason": reason})
