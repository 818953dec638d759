"""Kraken's time and sales, and the answers of its REST endpoint ``Trades``.

Sources: "Downloadable historical market data (time and sales)" of Kraken's support pages:
``timestamp,price,volume``, seconds, no header, one file for each pair; and "Get Recent Trades" of
the API reference: ``[price, volume, time, b or s, m or l, miscellaneous, trade_id]``.

Time and sales has neither ids nor sides. A trade is known by time, price, volume and how many equal
rows came before it in its second, so equal fills stay as many as they are and a file loaded twice
adds nothing; its side is ``unknown``. See docs/decisions/0007-archives-without-ids.md.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_feeds.adapter import TradeColumns
from k2_feeds.archives.cells import Cells
from k2_market.records import TRADE

_VENDOR_DATA = TRADE.schema.field("vendor_data").type
_SIDES = {"b": "buy", "s": "sell"}
_ORDER_TYPES = {"m": "market", "l": "limit"}


def rest(cells: Cells) -> TradeColumns:
    """A trade has the id that the live feed gives it (since 2023; before, it had none)."""
    ids = cells.integers("trade_id")
    ordered = [[("ord_type", _ORDER_TYPES.get(t, t))] for t in cells.texts("ordertype")]
    return _columns(
        cells,
        ids=ids.cast(pa.string()),
        sequence=ids,
        timestamp=cells.seconds("time"),
        side=cells.choices("side", _SIDES),
        vendor_data=pa.array(ordered, _VENDOR_DATA),
    )


def time_and_sales(cells: Cells) -> TradeColumns:
    """``timestamp,price,volume`` and K2's columns: place within its time, and equal rows so far.

    The order within a second is that of the file, kept in the last digits of source_sequence.
    """
    micros = cells.seconds("timestamp")
    names = ("timestamp", "price", "volume", "k2_repeat")
    parts = zip(*(cells.texts(name) for name in names), strict=True)
    return _columns(
        cells,
        ids=pa.array([f"ts:{':'.join(part)}" for part in parts], pa.string()),
        sequence=pc.add(micros, cells.integers("k2_position")),
        timestamp=micros,
        side=pa.repeat("unknown", cells.rows),
    )


def _columns(
    cells: Cells,
    *,
    ids: pa.Array[Any],
    sequence: pa.Array[Any],
    timestamp: pa.Array[Any],
    side: pa.Array[Any],
    vendor_data: pa.Array[Any] | None = None,
) -> TradeColumns:
    return TradeColumns(
        exchange_symbol=cells.symbols(),
        trade_id=ids,
        source_sequence=sequence,
        timestamp=timestamp,
        price=cells.text("price"),
        quantity=cells.text("volume"),
        side=side,
        vendor_data=vendor_data,
    )
