"""Coinbase's REST trades, whose ids are those of its live feed.

Source: "Get product trades" of the Exchange API: ``{"time":"2014-11-07T22:19:28.578544Z",
"trade_id":74,"price":"10.00000000","size":"0.01000000","side":"buy"}``. "The side of a trade
indicates the maker order side."
"""

from __future__ import annotations

import pyarrow as pa

from k2_feeds.adapter import TradeColumns
from k2_feeds.archives.cells import Cells

_TAKER = {"buy": "sell", "sell": "buy"}


def rest(cells: Cells) -> TradeColumns:
    """The columns of trades; the taker's side is the other than the one given."""
    ids = cells.integers("trade_id")
    return TradeColumns(
        exchange_symbol=cells.symbols(),
        trade_id=ids.cast(pa.string()),
        source_sequence=ids,
        timestamp=cells.text("time"),
        price=cells.text("price"),
        quantity=cells.text("size"),
        side=cells.choices("side", _TAKER),
    )
