"""What a quote must meet.

A book that is crossed or locked is kept, flagged as what it is: exchanges do send such states, and
whoever computes a spread must be able to leave them out.
"""

from __future__ import annotations

import polars as pl

from k2_market.records import QUOTE
from k2_market.rules import READABLE_SYMBOL, RowRules, Rule, above_zero, in_time

CROSSED, LOCKED = "crossed", "locked"


def _flagged(condition: str) -> pl.Expr:
    return pl.col("quote_conditions").list.contains(condition).fill_null(False)


QUOTE_RULES = RowRules(
    QUOTE,
    (
        READABLE_SYMBOL,
        Rule("missing_quote_id", "quote_id", "a quote has an id", pl.col("quote_id") != ""),
        above_zero("bid_price", "a bid"),
        above_zero("ask_price", "an ask"),
        above_zero("bid_quantity", "the quantity bid"),
        above_zero("ask_quantity", "the quantity asked"),
        Rule(
            "crossed_unflagged",
            "bid_price",
            "a bid is below the ask, unless the quote is flagged as crossed or locked",
            pl.when(pl.col("bid_price") > pl.col("ask_price"))
            .then(_flagged(CROSSED) & ~_flagged(LOCKED))
            .when(pl.col("bid_price") == pl.col("ask_price"))
            .then(_flagged(LOCKED) & ~_flagged(CROSSED))
            .otherwise(~_flagged(CROSSED) & ~_flagged(LOCKED)),
        ),
        *in_time("quote", "is made"),
    ),
)
