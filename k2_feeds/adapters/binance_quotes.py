"""Binance's quotes on the wire.

Sources: "Individual Symbol Book Ticker Streams" of spot, of USD-M and of COIN-M futures: "Pushes
any update to the best bid or ask's price or quantity in real-time for a specified symbol."
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import pyarrow as pa

from k2_feeds.adapter import Parser, QuoteColumns, Reading, Route
from k2_feeds.adapters.binance_trades import Id, Time, to_micros
from k2_feeds.parsing.faults import one_row, reading_of
from k2_market.kinds import Kind


class BookTicker(msgspec.Struct, gc=False):
    """``{"u":400900217,"s":"BNBUSDT","b":"25.3519","B":"31.21","a":"25.3652","A":"40.66"}``.

    ``u`` is the update id of the order book. Futures add ``"e":"bookTicker"``, ``E`` (event time)
    and ``T`` (transaction time); spot says neither what it is nor when it was. A side of the book
    that is empty has the price and the quantity 0.
    """

    u: Id
    s: str
    b: str
    B: str
    a: str
    A: str
    e: Literal["bookTicker"] = "bookTicker"
    E: Time | None = None
    T: Time | None = None


class Combined(msgspec.Struct, gc=False):
    """``{"stream":"bnbusdt@bookTicker","data":{...}}``."""

    data: BookTicker


_decode = msgspec.json.Decoder(Combined).decode
_decode_bare = msgspec.json.Decoder(BookTicker).decode


def parser(route: Callable[[Any], Route]) -> Parser:
    """The parser of quotes; ``route`` tells what a decoded message is."""

    def reread(payload: bytes) -> Reading:
        return reading_of(payload, Kind.QUOTES, route, lambda message: _reread(payload, message))

    return Parser(_decode, _rows, reread, _columns)


def _reread(payload: bytes, message: Any) -> Reading:
    """A quote outside a combined stream, or a fault."""
    combined = isinstance(message, dict) and "data" in message
    decode = (lambda frame: _decode(frame).data) if combined else _decode_bare
    return one_row(payload, Kind.QUOTES, decode)


def _rows(decoded: Sequence[Combined]) -> tuple[list[int], list[int], list[Any]]:
    """One quote in each frame."""
    return list(range(len(decoded))), [0] * len(decoded), [frame.data for frame in decoded]


def _columns(rows: Sequence[Any]) -> QuoteColumns:
    """The columns of book tickers, ordered by the update ids of their books."""
    updates = pa.array([r.u for r in rows], pa.int64())
    return QuoteColumns(
        exchange_symbol=pa.array([r.s for r in rows], pa.string()),
        quote_id=updates.cast(pa.string()),
        source_sequence=updates,
        timestamp=to_micros(pa.array([r.T for r in rows], pa.int64())),
        event_time=to_micros(pa.array([r.E for r in rows], pa.int64())),
        bid_price=pa.array([r.b for r in rows], pa.string()),
        bid_quantity=pa.array([r.B for r in rows], pa.string()),
        ask_price=pa.array([r.a for r in rows], pa.string()),
        ask_quantity=pa.array([r.A for r in rows], pa.string()),
    )
