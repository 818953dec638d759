"""What the table of instruments must meet: steps above zero, and one version at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
from pandera.api.polars.types import PolarsData

from k2_market.listing import FUTURE, INSTRUMENT, PERPETUAL, SPOT

_INSTRUMENT = ("exchange", "symbol")
_NEXT_FROM = pl.col("valid_from").shift(-1).over(_INSTRUMENT, order_by="valid_from")
_INVARIANTS = {
    "tick_positive": pl.col("tick_size") > 0,
    "lot_positive": pl.col("lot_size") > 0,
    "type_known": pl.col("type").is_in([SPOT, PERPETUAL, FUTURE]),
    "contract_has_currency": (
        pl.col("contract_size").is_null() == pl.col("contract_currency").is_null()
    ),
    "its_own_name": pl.col("names").list.contains(pl.col("exchange_symbol")),
    "begins_before_it_ends": pl.col("valid_to").is_null()
    | (pl.col("valid_from") < pl.col("valid_to")),
    "one_is_current": pl.col("valid_to").is_null().sum().over(_INSTRUMENT) <= 1,
    "no_overlap": _NEXT_FROM.is_null()
    | (pl.col("valid_to").is_not_null() & (pl.col("valid_to") <= _NEXT_FROM)),
}


def _holds(rule: pl.Expr) -> Callable[[PolarsData], pl.LazyFrame]:
    return lambda data: data.lazyframe.select(rule)


def _column(field: pa.Field[Any], dtype: pl.DataType) -> pandera.Column:
    doc = (field.metadata or {}).get(b"doc", b"").decode()
    return pandera.Column(dtype, nullable=field.nullable, description=doc)


def _schema() -> pandera.DataFrameSchema:
    dtypes = pl.DataFrame(INSTRUMENT.schema.empty_table()).schema
    return pandera.DataFrameSchema(
        {f.name: _column(f, dtypes[f.name]) for f in INSTRUMENT.schema},
        checks=[
            pandera.Check(_holds(rule), name=name, error=name) for name, rule in _INVARIANTS.items()
        ],
        unique=list(INSTRUMENT.key),
        name=INSTRUMENT.name,
        strict=True,
        ordered=True,
    )


INSTRUMENT_SCHEMA = _schema()


def ambiguous_names(instruments: pa.Table) -> list[str]:
    """The names that mean two current instruments of one exchange, as ``kraken XBTUSD``."""
    named = (
        pl.DataFrame(instruments)
        .filter(pl.col("valid_to").is_null())
        .select("exchange", "symbol", pl.col("names").alias("name"))
        .explode("name")
        .with_columns(pl.col("name").str.to_uppercase())
    )
    twice = named.group_by("exchange", "name").agg(pl.col("symbol").n_unique().alias("symbols"))
    found = twice.filter(pl.col("symbols") > 1).sort("exchange", "name")
    return [f"{exchange} {name}" for exchange, name, _ in found.rows()]
