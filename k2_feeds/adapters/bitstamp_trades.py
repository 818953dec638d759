"""Bitstamp's trades on the wire. Source: "Websocket API v2", Live ticker."""

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

CHANNEL = "live_trades_"
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
# Seventeen digits of microseconds reach the year 5138.
Micros = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,17}$")]


class Trade(msgspec.Struct, gc=False):
    """``{"id":113565,"microtimestamp":"1653978373164007","price_str":"31524.50","type":0,...}``.

    ``microtimestamp`` is text. ``price`` and ``amount`` are numbers, ``price_str`` and
    ``amount_str`` the same with the exchange's own digits. The numbers of the orders stay as they
    came: K2 calculates nothing with them.
    """

    id: _Id
    microtimestamp: Micros
    price_str: str
    amount_str: str
    type: Literal[0, 1]
    buy_order_id: msgspec.Raw = msgspec.Raw(b"")
    sell_order_id: msgspec.Raw = msgspec.Raw(b"")


class Frame(msgspec.Struct, gc=False):
    """``{"data":{...},"channel":"live_trades_btcusd","event":"trade"}``.

    The channel alone names the pair.
    """

    data: Trade
    channel: Annotated[str, msgspec.Meta(pattern=f"^{CHANNEL}.")]
    event: Literal["trade"]


_decode = msgspec.json.Decoder(Frame).decode


def parser(route: Callable[[Any], Route]) -> Parser:
    """The parser of trades; ``route`` tells what a decoded message is."""

    def reread(payload: bytes) -> Reading:
        return reading_of(
            payload, Kind.TRADES, route, lambda _: one_row(payload, Kind.TRADES, _decode)
        )

    return Parser(_decode, one_each, reread, _columns)


def _columns(rows: Sequence[Any]) -> TradeColumns:
    """The columns of trades; the two orders go into vendor_data."""
    trades = [frame.data for frame in rows]
    ids = pa.array([t.id for t in trades], pa.int64())
    return TradeColumns(
        exchange_symbol=pa.array([f.channel.removeprefix(CHANNEL) for f in rows], pa.string()),
        trade_id=ids.cast(pa.string()),
        source_sequence=ids,
        timestamp=pa.array([t.microtimestamp for t in trades], pa.string()).cast(pa.int64()),
        price=pa.array([t.price_str for t in trades], pa.string()),
        quantity=pa.array([t.amount_str for t in trades], pa.string()),
        side=taker_side(pa.array([t.type for t in trades], pa.int8())),
        vendor_data=text_maps(
            ("buy_order_id", "sell_order_id"),
            [(_written(t.buy_order_id), _written(t.sell_order_id)) for t in trades],
        ),
    )


def taker_side(kind: pa.Array[Any]) -> pa.Array[Any]:
    """``type``: "Trade type (0 - buy; 1 - sell)", of the order that took.

    The sentence, of "Live ticker", does not say whose order. Captured trades do: the order on that
    side has the higher number of the two, so it came when the other was in the book.
    """
    side: pa.Array[Any] = pc.if_else(pc.equal(kind, pa.scalar(0, pa.int8())), "buy", "sell")
    return side


def _written(number: msgspec.Raw) -> str | None:
    text = bytes(number)
    return text.decode() if text not in (b"", b"null") else None
