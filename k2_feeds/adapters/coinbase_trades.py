"""Coinbase's trades on the wire. Source: "Exchange WebSocket Channels", Match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from k2_feeds.adapter import Parser, Reading, Route, TradeColumns, one_each
from k2_feeds.parsing.faults import one_row, reading_of
from k2_feeds.parsing.vendor_data import text_maps
from k2_market.kinds import Kind

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


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


_decode = msgspec.json.Decoder(Match).decode


def parser(route: Callable[[Any], Route]) -> Parser:
    """The parser of trades; ``route`` tells what a decoded message is."""

    def reread(payload: bytes) -> Reading:
        return reading_of(
            payload, Kind.TRADES, route, lambda _: one_row(payload, Kind.TRADES, _decode)
        )

    return Parser(_decode, one_each, reread, _columns)


def _columns(rows: Sequence[Any]) -> TradeColumns:
    """The columns of matches; sequence and orders go into vendor_data."""
    ids = pa.array([r.trade_id for r in rows], pa.int64())
    return TradeColumns(
        exchange_symbol=pa.array([r.product_id for r in rows], pa.string()),
        trade_id=ids.cast(pa.string()),
        source_sequence=ids,
        timestamp=pa.array([r.time for r in rows], pa.string()),
        price=pa.array([r.price for r in rows], pa.string()),
        quantity=pa.array([r.size for r in rows], pa.string()),
        side=taker_side(pa.array([r.side for r in rows], pa.string())),
        vendor_data=text_maps(
            ("sequence", "maker_order_id", "taker_order_id"),
            [(_digits(r.sequence), r.maker_order_id, r.taker_order_id) for r in rows],
        ),
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


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)
