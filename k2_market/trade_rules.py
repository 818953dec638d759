"""What a trade must meet."""

from __future__ import annotations

import polars as pl

from k2_market.records import TRADE
from k2_market.rules import READABLE_SYMBOL, RowRules, Rule, above_zero, in_time

# Candles are exact up to 5 * 10^21 (ohlcv_tail.sql): five thousand such trades in one window.
LARGEST_NOTIONAL = 10**18

TRADE_RULES = RowRules(
    TRADE,
    (
        READABLE_SYMBOL,
        Rule("missing_trade_id", "trade_id", "a trade has an id", pl.col("trade_id") != ""),
        above_zero("price", "a price"),
        above_zero("quantity", "a quantity"),
        Rule(
            "notional_too_large",
            "quantity",
            "price times quantity is below 10^18, or candles could not sum it exactly",
            pl.col("price").cast(pl.Float64) * pl.col("quantity").cast(pl.Float64)
            < LARGEST_NOTIONAL,
        ),
        Rule(
            "unknown_side",
            "side",
            "the taker bought or sold, or the archive does not say",
            pl.col("side").is_in(["buy", "sell", "unknown"]),
        ),
        *in_time("trade", "happens"),
        Rule(
            "trade_count_not_positive",
            "trade_count",
            "a row stands for at least one raw trade",
            pl.col("trade_count") > 0,
        ),
    ),
)
