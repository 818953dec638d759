"""What can be asked for by the page: a table, the order of its rows, and what narrows it.

Every data route stands on one of these; nothing else says which columns a question may name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from k2_lake.tables import (
    CONDITION_TABLE,
    GAPS_TABLE,
    INSTRUMENTS_TABLE,
    RECONCILIATION_TABLE,
    REJECTED_TABLE,
    TRADES_TABLE,
    gold_name,
    table_def,
)
from k2_market.kinds import Kind
from k2_market.records import Record

QUOTES_TABLE = gold_name(Kind.QUOTES)
DEFAULT_WINDOWS = 1_000


@dataclass(frozen=True)
class Dataset:
    """A table that is read in the order of ``order``, which names each row.

    ``time`` is the column that ``start`` and ``end`` speak of; where rows lie in the day of it (the
    record's), plans are pruned by day. ``filters`` are columns that a value may be asked of.
    """

    table: str
    order: tuple[str, ...]
    time: str | None
    in_days: bool = False
    filters: tuple[str, ...] = ()
    named_by: str | None = TRADES_TABLE
    """The table that tells which symbols there are; None where rows have no symbol."""
    must_be_known: bool = True
    """Whether a symbol that no row names is an error: of what may be missing it is not."""
    kind: Kind | None = None
    """The kind of rows that come by Kafka, so that the newest are in no table yet."""
    days_before: int | None = None
    """By default a range begins so many days before the newest one; None: with the first row."""

    @property
    def record(self) -> Record:
        """The record of the table's rows."""
        return table_def(self.table).record

    @property
    def question(self) -> str:
        """What tells a question of this dataset from the same one of another, for cursors."""
        return self.table

    @cached_property
    def types(self) -> tuple[pa.DataType, ...]:
        """The types of the order's columns."""
        return tuple(self.record.schema.field(c).type for c in self.order)


TRADES = Dataset(
    TRADES_TABLE,
    ("exchange", "symbol", "timestamp", "source_sequence", "trade_id"),
    "timestamp",
    in_days=True,
    kind=Kind.TRADES,
    days_before=0,
)
QUOTES = Dataset(
    QUOTES_TABLE,
    ("exchange", "symbol", "timestamp", "source_sequence", "quote_id"),
    "timestamp",
    in_days=True,
    named_by=QUOTES_TABLE,
    kind=Kind.QUOTES,
    days_before=0,
)
GAPS = Dataset(
    GAPS_TABLE,
    ("exchange", "symbol", "before_at", "first_missing_id", "last_missing_id"),
    "before_at",
    filters=("state", "cause"),
    must_be_known=False,
)
CONDITION = Dataset(
    CONDITION_TABLE,
    ("exchange", "symbol", "kind", "day"),
    "day",
    filters=("kind", "condition"),
    must_be_known=False,
)
RECONCILIATION = Dataset(
    RECONCILIATION_TABLE,
    ("exchange", "symbol", "timeframe", "window_start"),
    "window_start",
    in_days=True,
    filters=("timeframe", "outcome"),
    must_be_known=False,
)
REJECTED = Dataset(
    REJECTED_TABLE,
    ("exchange", "kind", "epoch", "kafka_partition", "kafka_offset", "frame_index"),
    "received_at",
    filters=("kind", "reason"),
    named_by=None,
)
INSTRUMENTS = Dataset(INSTRUMENTS_TABLE, ("exchange", "symbol", "valid_from"), None, named_by=None)
