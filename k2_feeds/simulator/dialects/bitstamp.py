"""Bitstamp's server.

Source: "Websocket API v2" (Subscriptions, Live ticker, Live order book, Heartbeat).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from k2_feeds.simulator.dialects.dialect import Client, dump, request
from k2_feeds.simulator.synthetic import Fill, Quote
from k2_market.instruments import canonical_symbol
from k2_market.kinds import Kind

_CHANNEL = re.compile(r"(live_trades|order_book)_([a-z0-9]+(-perp)?)")
_KINDS = {"live_trades": Kind.TRADES, "order_book": Kind.QUOTES}


@dataclass
class BitstampDialect:
    """Bitstamp: a pair that does not exist is acknowledged and silent, a bad name is refused."""

    known: Callable[[str], bool]
    rejects: Callable[[str], bool] = lambda _: False
    paths: tuple[str, ...] = ("/bitstamp",)

    def greet(self, client: Client, now: datetime) -> list[str]:  # noqa: ARG002
        """Nothing."""
        return []

    def answer(self, client: Client, message: str, now: datetime) -> list[str]:  # noqa: ARG002
        """An acknowledgement with the channel, an error without, or the answer to a heartbeat."""
        asked = request(message)
        if asked.get("event") == "bts:heartbeat":
            return [_frame("bts:heartbeat", "", {"status": "success"})]
        data = asked.get("data")
        channel = data.get("channel") if isinstance(data, dict) else None
        if asked.get("event") != "bts:subscribe" or not isinstance(channel, str):
            return [_error("Bad subscription string.")]
        found = _CHANNEL.fullmatch(channel)
        if found is None:
            return [_error("Invalid channel provided.")]
        symbol = canonical_symbol(found[2])
        if self.rejects(symbol or ""):
            return [_error("Subscription is not possible.")]
        if symbol is not None and self.known(symbol):
            client.symbols[_KINDS[found[1]]].add(symbol)
        return [_frame("bts:subscription_succeeded", channel, {})]

    def trades(self, path: str, symbol: str, orders: list[list[Fill]]) -> list[str]:  # noqa: ARG002
        """A frame for each fill."""
        channel = "live_trades_" + _pair(symbol)
        return [_trade(channel, fill) for order in orders for fill in order]

    def quotes(self, path: str, symbol: str, quotes: list[Quote]) -> list[str]:  # noqa: ARG002
        """The newest book alone: Bitstamp sends no more than a few in a second."""
        return [_book("order_book_" + _pair(symbol), quote) for quote in quotes[-1:]]

    def heartbeat(self, client: Client, now: datetime) -> list[str]:  # noqa: ARG002
        """Nothing: it only answers the client's."""
        return []


def request_reconnect() -> str:
    """The frame that asks the client to connect anew, within seconds."""
    return dump({"event": "bts:request_reconnect", "channel": "", "data": None})


def _pair(symbol: str) -> str:
    return symbol.replace("-", "", 1).lower()


def _book(channel: str, quote: Quote) -> str:
    """Two levels of each side, in place of a hundred."""
    tick = quote.ask_price - quote.bid_price
    bids = [(quote.bid_price, quote.bid_quantity), (quote.bid_price - tick, quote.ask_quantity)]
    asks = [(quote.ask_price, quote.ask_quantity), (quote.ask_price + tick, quote.bid_quantity)]
    data: dict[str, object] = {"timestamp": str(quote.time_us // 1_000_000)}
    data |= {"microtimestamp": str(quote.time_us)}
    data |= {"bids": _levels(bids), "asks": _levels(asks)}
    return dump({"data": data, "channel": channel, "event": "data"})


def _levels(levels: list[tuple[Decimal, Decimal]]) -> list[list[str]]:
    return [[f"{price:f}", f"{quantity:f}"] for price, quantity in levels if price > 0]


def _trade(channel: str, fill: Fill) -> str:
    # By hand: the numbers must be written with their digits, not through a float.
    price, amount = f"{fill.price:f}", f"{fill.quantity:f}"
    maker, taker = 2 * fill.trade_id, 2 * fill.trade_id + 1
    buyer, seller = (taker, maker) if fill.buy else (maker, taker)
    return (
        f'{{"data":{{"id":{fill.trade_id},"timestamp":"{fill.time_us // 1_000_000}",'
        f'"amount":{amount},"amount_str":"{amount}","price":{price},"price_str":"{price}",'
        f'"type":{0 if fill.buy else 1},"microtimestamp":"{fill.time_us}",'
        f'"buy_order_id":{buyer},"sell_order_id":{seller}}},'
        f'"channel":"{channel}","event":"trade"}}'
    )


def _frame(event: str, channel: str, data: dict[str, object]) -> str:
    return dump({"event": event, "channel": channel, "data": data})


def _error(message: str) -> str:
    return _frame("bts:error", "", {"code": None, "message": message})
