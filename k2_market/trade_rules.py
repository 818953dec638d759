"""What a trade must meet beyond its types: each rule has a name, a sentence and a predicate.

The same Pandera schema decides which parsed rows reach silver and is what the checks of the trade
tables run; a row is rejected with the name of the first rule that it breaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
from pandera.api.polars.types import PolarsData

from k2_market.records import TRADE

# No exchange that K2 reads traded before: an earlier time is a broken clock or a wrong unit.
# It is also the first daily partition.
EARLIEST_DAY = date(2011, 1, 1)
EARLIEST = datetime.combine(EARLIEST_DAY, time.min, tzinfo=UTC)

# Exchange and recorder clocks differ by seconds; an hour is a wrong unit or a wrong year.
LATEST_AHEAD = timedelta(hours=1)


@dataclass(frozen=True)
class Rule:
    """A named predicate over the columns of a trade. ``column`` is the one to blame."""

    name: str
    column: str
    sentence: str
    holds: pl.Expr


_SYMBOL = r"^[^\s/-]+-[^\s/-]+(-[^\s/-]+)?$"

RULES: tuple[Rule, ...] = (
    Rule(
        "unreadable_symbol",
        "symbol",
        "a symbol is BASE-QUOTE, or BASE-QUOTE-DELIVERY",
        pl.col("symbol").str.contains(_SYMBOL),
    ),
    Rule("missing_trade_id", "trade_id", "a trade has an id", pl.col("trade_id") != ""),
    Rule("price_not_positive", "price", "a price is above zero", pl.col("price") > 0),
    Rule("quantity_not_positive", "quantity", "a quantity is above zero", pl.col("quantity") > 0),
    Rule(
        "unknown_side",
        "side",
        "the taker bought or sold, or the archive does not say",
        pl.col("side").is_in(["buy", "sell", "unknown"]),
    ),
    Rule(
        "time_too_early",
        "timestamp",
        f"no trade is older than {EARLIEST_DAY}",
        pl.col("timestamp") >= EARLIEST,
    ),
    Rule(
        "time_in_future",
        "timestamp",
        "no trade happens more than an hour after it was received",
        pl.col("timestamp") <= pl.col("ingestion_timestamp") + LATEST_AHEAD,
    ),
    Rule(
        "trade_count_not_positive",
        "trade_count",
        "a row stands for at least one raw trade",
        pl.col("trade_count") > 0,
    ),
)


def _check(rule: Rule) -> pandera.Check:
    def holds(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(rule.holds)

    return pandera.Check(holds, name=rule.name, error=rule.name, description=rule.sentence)


def _column(field: pa.Field[Any], dtype: pl.DataType) -> pandera.Column:
    checks = [_check(r) for r in RULES if r.column == field.name]
    description = (field.metadata or {}).get(b"doc", b"").decode()
    # Pandera cannot name polars' Map: such a column is only required to be there.
    known = None if pa.types.is_map(field.type) else dtype
    return pandera.Column(known, checks, nullable=field.nullable, description=description)


def _schema() -> pandera.DataFrameSchema:
    dtypes = pl.DataFrame(TRADE.schema.empty_table()).schema
    columns = {f.name: _column(f, dtypes[f.name]) for f in TRADE.schema}
    return pandera.DataFrameSchema(columns, name=TRADE.name, strict=True, ordered=True)


TRADE_SCHEMA = _schema()


@dataclass(frozen=True)
class Breach:
    """Row ``row`` broke the rule named ``reason``; ``detail`` says it with the value found."""

    row: int
    reason: str
    detail: str


def broken(trades: pa.Table) -> list[Breach]:
    """The rows that break a rule, in order, each with the first rule it breaks.

    ``trades`` has the columns and types of TRADE. The predicates are those of TRADE_SCHEMA, all in
    one pass: a call of Pandera itself costs 13 ms however few the rows, too much for every batch.
    """
    frame = pl.DataFrame(trades.select(_READ)).with_row_index("row")
    bad = frame.with_columns(rank=_FIRST_BROKEN).filter(pl.col("rank").is_not_null())
    found = bad.select("row", "rank", found=_VALUE_FOUND)
    return [
        Breach(row, RULES[rank].name, _detail(rank, value)) for row, rank, value in found.rows()
    ]


def _breaks(rule: Rule) -> pl.Expr:
    return ~rule.holds.fill_null(False)


# The columns that the predicates read, the rank of the first rule broken (null where none is), and
# the value to show; text, because a datetime cannot hold every instant that a frame can claim.
_READ = list(dict.fromkeys(name for rule in RULES for name in rule.holds.meta.root_names()))
_FIRST_BROKEN = pl.coalesce(pl.when(_breaks(r)).then(pl.lit(i)) for i, r in enumerate(RULES))
_VALUE_FOUND = pl.coalesce(
    pl.when(pl.col("rank") == i).then(pl.col(r.column).cast(pl.String)) for i, r in enumerate(RULES)
)


def _detail(rank: int, found: str) -> str:
    return f"{RULES[rank].sentence}, found {found[:200]!r}"
