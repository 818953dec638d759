"""Kraken's quotes on the wire. Source: "Spot WebSocket v2", Ticker (Level 1).

Asked for with ``event_trigger`` ``bbo``: "on a change in the best-bid-offer price levels".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import pyarrow as pa

from k2_feeds.adapter import Parser, QuoteColumns, Route
from k2_feeds.adapters.kraken_rows import every_row, rereading
from k2_market.kinds import Kind


class Ticker(msgspec.Struct, gc=False):
    """``{"symbol":"BTC/USD","bid":105944.2,"bid_qty":2.5,"ask":105944.3,"ask_qty":3.2,...}``.

    Prices and quantities are JSON numbers, kept as the characters they came in. ``timestamp``, RFC
    3339, is there since spring 2026. There is no id: assembly makes one of time and content.
    """

    symbol: str
    bid: msgspec.Raw
    bid_qty: msgspec.Raw
    ask: msgspec.Raw
    ask_qty: msgspec.Raw
    timestamp: str | None = None


class Frame(msgspec.Struct, gc=False):
    """A snapshot (once after subscribing) or an update, of one ticker."""

    channel: Literal["ticker"]
    type: Literal["snapshot", "update"]
    data: list[Ticker]


class Envelope(msgspec.Struct, gc=False):
    """A Frame whose rows have not been looked at."""

    channel: Literal["ticker"]
    type: Literal["snapshot", "update"]
    data: list[msgspec.Raw]


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_ticker = msgspec.json.Decoder(Ticker).decode
_decode = msgspec.json.Decoder(Frame).decode


def parser(route: Callable[[Any], Route]) -> Parser:
    """The parser of quotes; ``route`` tells what a decoded message is."""
    reread = rereading(Kind.QUOTES, route, _decode_envelope, _decode_ticker)
    return Parser(_decode, every_row, reread, _columns)


def _columns(rows: Sequence[Any]) -> QuoteColumns:
    """The columns of tickers, without an id."""
    return QuoteColumns(
        exchange_symbol=pa.array([r.symbol for r in rows], pa.string()),
        quote_id=pa.nulls(len(rows), pa.string()),
        source_sequence=pa.nulls(len(rows), pa.int64()),
        timestamp=pa.array([r.timestamp for r in rows], pa.string()),
        bid_price=pa.array([bytes(r.bid) for r in rows], pa.binary()),
        bid_quantity=pa.array([bytes(r.bid_qty) for r in rows], pa.binary()),
        ask_price=pa.array([bytes(r.ask) for r in rows], pa.binary()),
        ask_quantity=pa.array([bytes(r.ask_qty) for r in rows], pa.binary()),
    )
