"""Bitstamp's quotes on the wire. Source: "Websocket API v2", Live order book.

The channel sends the "top 100 bids" and the "top 100 asks", best first, whenever they have changed;
Bitstamp has none for the best level alone. A quote is the first of each side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from k2_feeds.adapter import Parser, QuoteColumns, Reading, Route, one_each
from k2_feeds.adapters.bitstamp_trades import Micros
from k2_feeds.parsing.faults import one_row, reading_of
from k2_market.kinds import Kind

CHANNEL = "order_book_"

# Price and amount.
_Level = tuple[str, str]


class Book(msgspec.Struct, gc=False):
    """``{"microtimestamp":"1653978373164007","bids":[["31524.50","0.36400000"],...],...}``.

    ``microtimestamp`` is the time of this state of the book, so it is what tells it from others.
    A quote that lacks a side, which is an empty list, is rejected.
    """

    microtimestamp: Micros
    bids: list[_Level]
    asks: list[_Level]


class Frame(msgspec.Struct, gc=False):
    """``{"data":{...},"channel":"order_book_btcusd","event":"data"}``.

    The channel alone names the pair.
    """

    data: Book
    channel: Annotated[str, msgspec.Meta(pattern=f"^{CHANNEL}.")]
    event: Literal["data"]


_decode = msgspec.json.Decoder(Frame).decode


def parser(route: Callable[[Any], Route]) -> Parser:
    """The parser of quotes; ``route`` tells what a decoded message is."""

    def reread(payload: bytes) -> Reading:
        return reading_of(
            payload, Kind.QUOTES, route, lambda _: one_row(payload, Kind.QUOTES, _decode)
        )

    return Parser(_decode, one_each, reread, _columns)


def _columns(rows: Sequence[Any]) -> QuoteColumns:
    """The columns of the best levels."""
    books = [frame.data for frame in rows]
    times = pa.array([b.microtimestamp for b in books], pa.string())
    micros = times.cast(pa.int64())
    bid_price, bid_quantity = _best([b.bids for b in books])
    ask_price, ask_quantity = _best([b.asks for b in books])
    return QuoteColumns(
        exchange_symbol=pa.array([f.channel.removeprefix(CHANNEL) for f in rows], pa.string()),
        quote_id=times,
        source_sequence=micros,
        timestamp=micros,
        bid_price=bid_price,
        bid_quantity=bid_quantity,
        ask_price=ask_price,
        ask_quantity=ask_quantity,
    )


def _best(sides: Sequence[list[_Level]]) -> tuple[pa.Array[Any], pa.Array[Any]]:
    """Prices and amounts of the first levels, null where there is none."""
    best = [side[0] if side else (None, None) for side in sides]
    prices = pa.array([price for price, _ in best], pa.string())
    return prices, pa.array([amount for _, amount in best], pa.string())
