"""What a candle must meet: the order of its prices, positive sums, aligned and unique windows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
from pandera.api.polars.types import PolarsData

from k2_market.records import CANDLE
from k2_market.timeframes import timeframe

_PRICES = ("open", "high", "low", "close", "vwap")


def _invariants(micros: int) -> dict[str, pl.Expr]:
    start = pl.col("window_start").dt.epoch("us")
    return {
        "high_is_highest": pl.max_horizontal("open", "low", "close", "vwap") <= pl.col("high"),
        "low_is_lowest": pl.min_horizontal("open", "high", "close", "vwap") >= pl.col("low"),
        "prices_positive": pl.min_horizontal(_PRICES) > 0,
        "volume_positive": pl.col("volume") > 0,
        "quote_volume_positive": pl.col("quote_volume") > 0,
        "trade_count_positive": pl.col("trade_count") > 0,
        "taker_buy_volume_is_a_part": pl.col("taker_buy_volume").is_between(0, pl.col("volume")),
        "taker_buy_quote_is_a_part": pl.col("taker_buy_quote_volume").is_between(
            0, pl.col("quote_volume")
        ),
        "window_aligned": start % micros == 0,
        "window_length": pl.col("window_end").dt.epoch("us") - start == micros,
        "window_on_its_day": pl.col("window_start").dt.date() == pl.col("window_date"),
    }


def _holds(rule: pl.Expr) -> Callable[[PolarsData], pl.LazyFrame]:
    return lambda data: data.lazyframe.select(rule)


@cache
def candle_schema(name: str) -> pandera.DataFrameSchema:
    """The Pandera schema of the candles of a timeframe. Raises UnknownName.

    Types and nulls of CANDLE, its key unique, low <= open, close, vwap <= high, sums above zero,
    windows aligned to the timeframe and within their day.
    """
    dtypes = pl.DataFrame(CANDLE.schema.empty_table()).schema
    return pandera.DataFrameSchema(
        {f.name: _column(f, dtypes[f.name]) for f in CANDLE.schema},
        checks=[
            pandera.Check(_holds(rule), name=rule_name, error=rule_name)
            for rule_name, rule in _invariants(timeframe(name).micros).items()
        ],
        unique=list(CANDLE.key),
        name=f"{CANDLE.name}_{name}",
        strict=True,
        ordered=True,
    )


def _column(field: pa.Field[Any], dtype: pl.DataType) -> pandera.Column:
    doc = (field.metadata or {}).get(b"doc", b"").decode()
    return pandera.Column(dtype, nullable=field.nullable, description=doc)
