"""Kraken's trades on the wire. Source: "Spot WebSocket v2", Trade."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from k2_feeds.adapter import Parser, Route, TradeColumns
from k2_feeds.adapters.kraken_rows import every_row, rereading
from k2_market.kinds import Kind
from k2_market.records import TRADE

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_VENDOR_DATA = TRADE.schema.field("vendor_data").type


class Trade(msgspec.Struct, gc=False):
    """``{"symbol":"BTC/USD","side":"buy","price":4136.4,"qty":0.23,"trade_id":4665906,...}``.

    Price and quantity are JSON numbers, kept as the characters they came in. ``side`` is "Side of
    taker order"; ``timestamp`` is "The book order update timestamp", RFC 3339.
    """

    symbol: str
    side: str
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: _Id
    timestamp: str
    ord_type: str | None = None


class Frame(msgspec.Struct, gc=False):
    """A snapshot (the newest 50 trades, once after subscribing) or an update of some trades."""

    channel: Literal["trade"]
    type: Literal["snapshot", "update"]
    data: list[Trade]


class Envelope(msgspec.Struct, gc=False):
    """A Frame whose rows have not been looked at."""

    channel: Literal["trade"]
    type: Literal["snapshot", "update"]
    data: list[msgspec.Raw]


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_trade = msgspec.json.Decoder(Trade).decode
_decode = msgspec.json.Decoder(Frame).decode


def parser(route: Callable[[Any], Route]) -> Parser:
    """The parser of trades; ``route`` tells what a decoded message is."""
    reread = rereading(Kind.TRADES, route, _decode_envelope, _decode_trade)
    return Parser(_decode, every_row, reread, _columns)


def _columns(rows: Sequence[Any]) -> TradeColumns:
    """The columns of trades; what kind of order the taker sent goes into vendor_data."""
    ids = pa.array([r.trade_id for r in rows], pa.int64())
    return TradeColumns(
        exchange_symbol=pa.array([r.symbol for r in rows], pa.string()),
        trade_id=ids.cast(pa.string()),
        source_sequence=ids,
        timestamp=pa.array([r.timestamp for r in rows], pa.string()),
        price=pa.array([bytes(r.price) for r in rows], pa.binary()),
        quantity=pa.array([bytes(r.qty) for r in rows], pa.binary()),
        side=pa.array([r.side for r in rows], pa.string()),
        vendor_data=_order_types([r.ord_type for r in rows]),
    )


def _order_types(order_types: list[str | None]) -> pa.Array[Any]:
    known = [name for name in order_types if name is not None]
    if len(known) == len(order_types):
        return _one_entry_each("ord_type", pa.array(known, pa.string()))
    entries = [None if name is None else [("ord_type", name)] for name in order_types]
    texts: pa.Array[Any] = pa.array(entries, _VENDOR_DATA)
    return texts


def _one_entry_each(key: str, values: pa.Array[Any]) -> pa.Array[Any]:
    """A map of one entry in every row; ten times as fast as from lists of pairs."""
    offsets: Any = pa.array(range(len(values) + 1), pa.int32())
    keys: Any = pa.repeat(key, len(values))
    maps: pa.Array[Any] = pa.MapArray.from_arrays(offsets, keys, values).cast(_VENDOR_DATA)
    return maps
