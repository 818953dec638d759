"""The CSV that K2 v0.1.0 read: one trade or quote in a line, each with its own symbol.

``symbol,exchange_timestamp,price,quantity,side,sequence_number,trade_id`` and
``symbol,exchange_timestamp,bid_price,ask_price,bid_size,ask_size,sequence_number``, then optionally
``company_id``, ``qualifiers`` and ``venue``. Times are ISO 8601 with an offset.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from k2_feeds.adapter import QuoteColumns, TradeColumns
from k2_feeds.archives.cells import Cells
from k2_market.exact import LARGEST_ID
from k2_market.records import TRADE

COLUMNS = ("symbol exchange_timestamp price quantity side sequence_number trade_id").split()
QUOTE_COLUMNS = (
    "symbol exchange_timestamp bid_price ask_price bid_size ask_size sequence_number"
).split()
_OPTIONAL = ("company_id", "qualifiers", "venue")
_VENDOR_DATA = TRADE.schema.field("vendor_data").type


def trades(cells: Cells) -> TradeColumns:
    """A numeric trade id orders the trades, as in the live feed; else the sequence number does."""
    return TradeColumns(
        exchange_symbol=cells.symbols(),
        trade_id=cells.text("trade_id"),
        source_sequence=_sequence(cells),
        timestamp=cells.text("exchange_timestamp"),
        price=cells.text("price"),
        quantity=cells.text("quantity"),
        side=pa.array([side.lower() for side in cells.texts("side")], pa.string()),
        vendor_data=_vendor_data(cells),
    )


def quotes(cells: Cells) -> QuoteColumns:
    """The sequence number tells the quotes of a symbol apart, and orders them."""
    numbers = cells.integers("sequence_number")
    return QuoteColumns(
        exchange_symbol=cells.symbols(),
        quote_id=numbers.cast(pa.string()),
        source_sequence=numbers,
        timestamp=cells.text("exchange_timestamp"),
        bid_price=cells.text("bid_price"),
        bid_quantity=cells.text("bid_size"),
        ask_price=cells.text("ask_price"),
        ask_quantity=cells.text("ask_size"),
        vendor_data=_vendor_data(cells),
    )


def _sequence(cells: Cells) -> pa.Array[Any]:
    ids, numbers = cells.texts("trade_id"), cells.integers("sequence_number").to_pylist()
    found: pa.Array[Any] = pa.array(list(map(_order, ids, numbers)), pa.int64())
    return found


def _order(trade_id: str, number: int | None) -> int | None:
    numeric = trade_id.isascii() and trade_id.isdigit() and len(trade_id) < len(str(LARGEST_ID))
    return int(trade_id) if numeric else number


def _vendor_data(cells: Cells) -> pa.Array[Any]:
    named = [name for name in _OPTIONAL if name in cells]
    if not named:
        nothing: pa.Array[Any] = pa.nulls(cells.rows, _VENDOR_DATA)
        return nothing
    rows = zip(*(cells.texts(name) for name in named), strict=True)
    entries = [[(n, v) for n, v in zip(named, row, strict=True) if v] or None for row in rows]
    maps: pa.Array[Any] = pa.array(entries, _VENDOR_DATA)
    return maps
