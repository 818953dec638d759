"""Coinbase's quotes on the wire. Source: "Exchange WebSocket Channels", Ticker.

"The ticker channel provides real-time price updates every time a match happens. It batches updates
in case of cascading matches": a change of the book in which nothing trades is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from k2_feeds.adapter import Parser, QuoteColumns, Reading, Route, one_each
from k2_feeds.parsing.faults import one_row, reading_of
from k2_feeds.parsing.vendor_data import text_maps
from k2_market.kinds import Kind

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Ticker(msgspec.Struct, gc=False):
    """``{"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","best_bid":"1285.04",...}``.

    ``sequence`` is the match's place among the messages of the product's order book, ``time`` and
    ``trade_id`` are its as well. The ticker at every subscription repeats the newest one: the same
    quote with the same sequence. Older tickers lack ``best_bid_size`` and ``best_ask_size`` and are
    rejected for it: a quantity that was not told is not zero.
    """

    type: Literal["ticker"]
    sequence: _Id
    product_id: str
    best_bid: str
    best_bid_size: str
    best_ask: str
    best_ask_size: str
    time: str
    trade_id: int | None = None


_decode = msgspec.json.Decoder(Ticker).decode


def parser(route: Callable[[Any], Route]) -> Parser:
    """The parser of quotes; ``route`` tells what a decoded message is."""

    def reread(payload: bytes) -> Reading:
        return reading_of(
            payload, Kind.QUOTES, route, lambda _: one_row(payload, Kind.QUOTES, _decode)
        )

    return Parser(_decode, one_each, reread, _columns)


def _columns(rows: Sequence[Any]) -> QuoteColumns:
    """The columns of tickers; the trade that each was sent for goes into vendor_data."""
    sequences = pa.array([r.sequence for r in rows], pa.int64())
    trades = [None if r.trade_id is None else str(r.trade_id) for r in rows]
    return QuoteColumns(
        exchange_symbol=pa.array([r.product_id for r in rows], pa.string()),
        quote_id=sequences.cast(pa.string()),
        source_sequence=sequences,
        timestamp=pa.array([r.time for r in rows], pa.string()),
        bid_price=pa.array([r.best_bid for r in rows], pa.string()),
        bid_quantity=pa.array([r.best_bid_size for r in rows], pa.string()),
        ask_price=pa.array([r.best_ask for r in rows], pa.string()),
        ask_quantity=pa.array([r.best_ask_size for r in rows], pa.string()),
        vendor_data=text_maps(("trade_id",), [(trade,) for trade in trades]),
    )
