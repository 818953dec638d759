"""Binance's public dumps of trades and aggregated trades, and of best prices of futures.

Source: "Binance Public Data" (Trades, AggTrades, bookTicker of futures): spot files have no header,
those of futures have one since 2022; spot times are microseconds from 2025-01-01 on and before that
milliseconds. The ids are those of the streams, so what came live as well is there once. A dump of
trades says neither a futures trade's execution type nor the time of the event.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_feeds.adapter import QuoteColumns, TradeColumns
from k2_feeds.adapters.binance_trades import taker_side, to_micros
from k2_feeds.archives.cells import Cells
from k2_market.records import AGGREGATED, TRADE

# The last instant of the year 9999 in microseconds: more is no time in any unit Binance uses.
_LATEST = 253_402_300_799_999_999
_VENDOR_DATA = TRADE.schema.field("vendor_data").type


def trades(cells: Cells) -> TradeColumns:
    """``id,price,qty,quote_qty,time,is_buyer_maker``; spot has ``is_best_match`` behind."""
    ids = cells.integers("id")
    return _columns(
        cells,
        ids=ids.cast(pa.string()),
        sequence=ids,
        time="time",
        quantity="qty",
    )


def aggregated(cells: Cells) -> TradeColumns:
    """``agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,...``."""
    first, last = cells.integers("first_trade_id"), cells.integers("last_trade_id")
    ids: Any = cells.integers("agg_trade_id").cast(pa.string())
    return _columns(
        cells,
        ids=pc.binary_join_element_wise(AGGREGATED, ids, ""),
        sequence=last,
        time="transact_time",
        quantity="quantity",
        vendor_data=_first_and_last(first, last),
        count=pc.add(pc.subtract(last, first), 1),
    )


def book_ticker(cells: Cells) -> QuoteColumns:
    """``update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,...``.

    The transaction's time is that of the quote, as it is in the stream.
    """
    updates = cells.integers("update_id")
    return QuoteColumns(
        exchange_symbol=cells.symbols(),
        quote_id=updates.cast(pa.string()),
        source_sequence=updates,
        timestamp=to_micros(cells.integers("transaction_time", _LATEST)),
        event_time=to_micros(cells.integers("event_time", _LATEST)),
        bid_price=cells.text("best_bid_price"),
        bid_quantity=cells.text("best_bid_qty"),
        ask_price=cells.text("best_ask_price"),
        ask_quantity=cells.text("best_ask_qty"),
    )


def _columns(
    cells: Cells,
    *,
    ids: pa.Array[Any],
    sequence: pa.Array[Any],
    time: str,
    quantity: str,
    vendor_data: pa.Array[Any] | None = None,
    count: pa.Array[Any] | None = None,
) -> TradeColumns:
    return TradeColumns(
        exchange_symbol=cells.symbols(),
        trade_id=ids,
        source_sequence=sequence,
        timestamp=to_micros(cells.integers(time, _LATEST)),
        price=cells.text("price"),
        quantity=cells.text(quantity),
        side=taker_side(cells.flags("is_buyer_maker")),
        vendor_data=vendor_data,
        trade_count=count,
    )


def _first_and_last(first: pa.Array[Any], last: pa.Array[Any]) -> pa.Array[Any]:
    n = len(first)
    keys: Any = pa.array(["first_trade_id", "last_trade_id"] * n, pa.string())
    # The first ids of all rows and then the last ones, taken in turn.
    both = pa.concat_arrays([first.cast(pa.string()), last.cast(pa.string())])
    values: Any = both.take(pa.array([i for row in range(n) for i in (row, row + n)], pa.int64()))
    offsets: Any = pa.array(range(0, n * 2 + 1, 2), pa.int32())
    maps: pa.Array[Any] = pa.MapArray.from_arrays(offsets, keys, values).cast(_VENDOR_DATA)
    return maps
