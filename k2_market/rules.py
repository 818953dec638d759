"""Rules that rows must meet beyond their types: each has a name, a sentence and a predicate.

The same rules decide which parsed rows reach silver and make the Pandera schema that the checks of
the tables run; a row is rejected with the name of the first rule that it breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
from pandera.api.polars.types import PolarsData

from k2_market.records import Record

# No exchange that K2 reads traded before: an earlier time is a broken clock or a wrong unit.
# It is also the first daily partition.
EARLIEST_DAY = date(2011, 1, 1)
EARLIEST = datetime.combine(EARLIEST_DAY, time.min, tzinfo=UTC)

# Exchange and recorder clocks differ by seconds; an hour is a wrong unit or a wrong year.
LATEST_AHEAD = timedelta(hours=1)

_SYMBOL = r"^[^\s/-]+-[^\s/-]+(-[^\s/-]+)?$"


@dataclass(frozen=True)
class Rule:
    """A named predicate over the columns of a row. ``column`` is the one to blame."""

    name: str
    column: str
    sentence: str
    holds: pl.Expr


@dataclass(frozen=True)
class Breach:
    """Row ``row`` broke the rule named ``reason``; ``detail`` says it with the value found."""

    row: int
    reason: str
    detail: str


READABLE_SYMBOL = Rule(
    "unreadable_symbol",
    "symbol",
    "a symbol is BASE-QUOTE, or BASE-QUOTE-DELIVERY",
    pl.col("symbol").str.contains(_SYMBOL),
)


def above_zero(column: str, what: str) -> Rule:
    """The rule that a number is above zero; ``what`` names it with its article."""
    name = f"{column}_not_positive"
    return Rule(name, column, f"{what} is above zero", pl.col(column) > 0)


def in_time(what: str, happens: str) -> tuple[Rule, Rule]:
    """The rules that a row is neither too old nor of the future: ``trade``, ``happens``."""
    return (
        Rule(
            "time_too_early",
            "timestamp",
            f"no {what} is older than {EARLIEST_DAY}",
            pl.col("timestamp") >= EARLIEST,
        ),
        Rule(
            "time_in_future",
            "timestamp",
            f"no {what} {happens} more than an hour after it was received",
            pl.col("timestamp") <= pl.col("ingestion_timestamp") + LATEST_AHEAD,
        ),
    )


class RowRules:
    """The rules of a record, in order, as a Pandera schema and as a test of many rows at once."""

    def __init__(self, record: Record, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        dtypes = pl.DataFrame(record.schema.empty_table()).schema
        columns = {f.name: self._column(f, dtypes[f.name]) for f in record.schema}
        self.schema = pandera.DataFrameSchema(columns, name=record.name, strict=True, ordered=True)
        # The columns that the predicates read, the rank of the first rule broken (null where none
        # is), and the value to show: text, for a datetime cannot hold every instant of a frame.
        read = [name for rule in rules for name in rule.holds.meta.root_names()]
        self._read = list(dict.fromkeys(read + [rule.column for rule in rules]))
        self._first_broken = pl.coalesce(
            pl.when(~rule.holds.fill_null(False)).then(pl.lit(i)) for i, rule in enumerate(rules)
        )
        self._value_found = pl.coalesce(
            pl.when(pl.col("rank") == i).then(pl.col(rule.column).cast(pl.String))
            for i, rule in enumerate(rules)
        )

    def broken(self, rows: pa.Table) -> list[Breach]:
        """The rows that break a rule, in order, each with the first rule it breaks.

        ``rows`` has the columns and types of the record. The predicates are those of the schema,
        all in one pass: a call of Pandera costs 13 ms however few the rows, too much for a batch.
        """
        frame = pl.DataFrame(rows.select(self._read)).with_row_index("row")
        ranked = frame.with_columns(rank=self._first_broken).filter(pl.col("rank").is_not_null())
        found = ranked.select("row", "rank", found=self._value_found)
        return [
            Breach(row, self.rules[rank].name, self._detail(rank, value))
            for row, rank, value in found.rows()
        ]

    def _column(self, field: pa.Field[Any], dtype: pl.DataType) -> pandera.Column:
        checks = [_check(rule) for rule in self.rules if rule.column == field.name]
        description = (field.metadata or {}).get(b"doc", b"").decode()
        # Pandera cannot name polars' Map: such a column is only required to be there.
        known = None if pa.types.is_map(field.type) else dtype
        return pandera.Column(known, checks, nullable=field.nullable, description=description)

    def _detail(self, rank: int, found: str | None) -> str:
        value = None if found is None else found[:200]
        return f"{self.rules[rank].sentence}, found {value!r}"


def _check(rule: Rule) -> pandera.Check:
    def holds(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(rule.holds)

    return pandera.Check(holds, name=rule.name, error=rule.name, description=rule.sentence)
