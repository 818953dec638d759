"""Coinbase Exchange: addresses, subscriptions, frames and trades of its public feed.

Sources: "Exchange WebSocket Overview" (Protocol, Subscribe, Errors) and "Exchange WebSocket
Channels" (Heartbeat, Ticker, Matches, Match) of Coinbase's documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from k2_feeds.adapter import (
    WIRE_ERRORS,
    Answer,
    Channel,
    Limits,
    Liveness,
    Reading,
    Route,
    TradeColumns,
    legs,
)
from k2_feeds.faults import WHOLE_FRAME, fault, read_object, reading_of, routed
from k2_feeds.vendor_data import text_maps
from k2_market.records import TRADE

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
_TYPE, _PRODUCT = b'{"type":"', b'"product_id":"'
_UNKNOWN = Route(Channel.UNKNOWN)
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_CONDITIONS = TRADE.schema.field("trade_conditions").type
_NOT_A_PRODUCT = " is not a valid product"

# The heartbeat channel beats every second for each product.
_LIVENESS = Liveness(silent_after_s=10, rotate_after_s=None)
# "Requests per second per IP: 8" ("Exchange WebSocket Rate Limits"); each product is a request. The
# other host, ws-direct, wants a key.
_LIMITS = Limits(streams=None, messages_per_s=8)


class Match(msgspec.Struct, gc=False):
    """``{"type":"match","trade_id":10,"sequence":50,"maker_order_id":"ac928c66-...",...}``.

    ``trade_id`` counts the trades of a product, ``sequence`` all messages of its order book.
    ``last_match`` repeats, at every subscription, the newest trade before it: the same trade with
    the same id, so that the lake, which keeps a trade once, needs to know nothing of it.
    """

    type: Literal["match", "last_match"]
    trade_id: _Id
    product_id: str
    side: str
    size: str
    price: str
    time: str
    sequence: int | None = None
    maker_order_id: str | None = None
    taker_order_id: str | None = None


@dataclass(frozen=True)
class Coinbase:
    """Coinbase's spot exchange."""

    exchange: str = "coinbase"
    endpoint: str = "wss://ws-feed.exchange.coinbase.com"
    liveness: Liveness = _LIVENESS
    limits: Limits = _LIMITS
    backups: tuple[str, ...] = ()

    def url(self, symbols: Sequence[str], endpoint: str | None = None) -> str:  # noqa: ARG002
        """The host itself; ``<endpoint>/coinbase`` where the endpoint is replaced."""
        return self.endpoint if endpoint is None else f"{endpoint}/coinbase"

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """A message for each product: one that is not known fails the whole message it is in."""
        return [_subscription(self.exchange_symbol(s)) for s in symbols]

    def awaited(self, symbols: Sequence[str]) -> frozenset[str]:
        """The products."""
        return frozenset(self.exchange_symbol(s) for s in symbols)

    def answers(self, payload: bytes) -> list[Answer]:
        """``subscriptions`` with all products so far, or ``error`` with a reason that names one."""
        if not payload.startswith((b'{"type":"match"', b'{"type":"heartbeat"')):
            message = read_object(payload)
            if message.get("type") == "subscriptions":
                return [Answer(True, product) for product in _matched(message.get("channels"))]
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

    decode = staticmethod(msgspec.json.Decoder(Match).decode)

    def rows(self, decoded: Sequence[Match]) -> tuple[list[int], list[int], list[Any]]:
        """One trade in each frame."""
        return list(range(len(decoded))), [0] * len(decoded), list(decoded)

    def reread(self, payload: bytes) -> Reading:
        """A frame of another channel, or a fault."""
        return reading_of(payload, _route, lambda _: _reread(payload))

    def columns(self, rows: Sequence[Any]) -> TradeColumns:
        """The columns of matches; sequence and orders go into vendor_data."""
        ids = pa.array([r.trade_id for r in rows], pa.int64())
        return TradeColumns(
            exchange_symbol=pa.array([r.product_id for r in rows], pa.string()),
            trade_id=ids.cast(pa.string()),
            source_sequence=ids,
            timestamp=pa.array([r.time for r in rows], pa.string()),
            event_time=pa.nulls(len(rows), pa.int64()),
            price=pa.array([r.price for r in rows], pa.string()),
            quantity=pa.array([r.size for r in rows], pa.string()),
            side=taker_side(pa.array([r.side for r in rows], pa.string())),
            trade_conditions=pa.nulls(len(rows), _CONDITIONS),
            vendor_data=text_maps(
                ("sequence", "maker_order_id", "taker_order_id"),
                [(_digits(r.sequence), r.maker_order_id, r.taker_order_id) for r in rows],
            ),
            candle_eligible=pa.repeat(pa.scalar(True), len(rows)),
            trade_count=pa.repeat(pa.scalar(1, pa.int64()), len(rows)),
        )


def taker_side(side: pa.Array[Any]) -> pa.Array[Any]:
    """The other side than ``side``, which is the maker's; what is neither side stays as it is.

    "The side field indicates the maker order side. If the side is sell this indicates the maker was
    a sell order and the match is considered an up-tick. A buy side match is a down-tick."
    ("Exchange WebSocket Channels", Match.)
    """
    sold: Any = pc.equal(side, pa.scalar("buy"))
    bought: Any = pc.equal(side, pa.scalar("sell"))
    taker: pa.Array[Any] = pc.if_else(sold, "sell", pc.if_else(bought, "buy", side))
    return taker


def _subscription(product: str) -> str:
    channels = [{"name": name, "product_ids": [product]} for name in ("matches", "heartbeat")]
    return msgspec.json.encode({"type": "subscribe", "channels": channels}).decode()


def _matched(channels: Any) -> list[str]:
    """The products whose matches are subscribed, in the list of a ``subscriptions`` message."""
    listed = channels if isinstance(channels, list) else []
    found = [c for c in listed if isinstance(c, dict) and c.get("name") == "matches"]
    products = [
        p for c in found if isinstance(c.get("product_ids"), list) for p in c["product_ids"]
    ]
    return [p for p in products if isinstance(p, str)]


def _refusal(message: dict[str, Any]) -> Answer:
    """``{"type":"error",...,"reason":"X-USD is not a valid product"}``."""
    reason = str(message.get("reason", message.get("message", "")))
    product, found, _ = reason.partition(_NOT_A_PRODUCT)
    return Answer(False, product if found and product else None, reason)


def _reread(payload: bytes) -> Reading:
    try:
        return Reading(Channel.TRADES, rows=[(0, Coinbase.decode(payload))])
    except WIRE_ERRORS as error:
        return Reading(Channel.TRADES, faults=[fault(error, payload, WHOLE_FRAME)])


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


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)


COINBASE = Coinbase()
