"""Dead letters of the tables: the rows of ``silver.rejected``, found by what they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from functools import reduce

import pyarrow as pa
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    LessThanOrEqual,
)

from k2_lake.catalog import Lake
from k2_lake.engine import Engine, Input, statement
from k2_lake.history import Mode, changes_since
from k2_lake.read_sql import existing_table
from k2_lake.scan import Files, appended, of_day, planned
from k2_lake.tables import REJECTED_TABLE
from k2_market.records import REJECTED

_CONDITIONS: dict[str, pa.DataType] = {
    "exchange": pa.string(),
    "kind": pa.string(),
    "reason": pa.string(),
    "first_day": pa.date32(),
    "last_day": pa.date32(),
    "epoch": pa.int32(),
    "kafka_partition": pa.int32(),
    "kafka_offset": pa.int64(),
    "frame_index": pa.int32(),
    "text": pa.string(),
}
_WANTED = pa.schema(_CONDITIONS)
# What PyIceberg can prune files by, and how.
_PRUNING = {
    "exchange": ("exchange", EqualTo),
    "kind": ("kind", EqualTo),
    "reason": ("reason", EqualTo),
    "first_day": ("ingest_date", GreaterThanOrEqual),
    "last_day": ("ingest_date", LessThanOrEqual),
    "kafka_offset": ("kafka_offset", EqualTo),
}


@dataclass(frozen=True)
class Wanted:
    """Which letters: those that meet every condition given; None asks for anything.

    Days are UTC days of arrival, both included. ``text`` is looked for in the detail, in whatever
    case; ``frame_index`` is -1 where the whole frame was rejected.
    """

    exchange: str | None = None
    kind: str | None = None
    reason: str | None = None
    first_day: date | None = None
    last_day: date | None = None
    epoch: int | None = None
    kafka_partition: int | None = None
    kafka_offset: int | None = None
    frame_index: int | None = None
    text: str | None = None

    def files(self, lake: Lake) -> Files:
        """The files that may hold such letters; none where nothing was ever rejected."""
        table = existing_table(lake, REJECTED_TABLE)
        if table is None:
            return Files(REJECTED.schema, ())
        given = [
            test(column, getattr(self, name))
            for name, (column, test) in _PRUNING.items()
            if getattr(self, name) is not None
        ]
        everything: BooleanExpression = AlwaysTrue()
        return planned(table, REJECTED.schema, reduce(And, given, everything))

    def row(self) -> pa.Table:
        """The conditions as the statement takes them."""
        return pa.Table.from_pylist([asdict(self)], schema=_WANTED)


@dataclass(frozen=True)
class Batch:
    """The frames of one exchange and kind that arrived on one day, with letters wanted.

    ``places`` holds their coordinates, each frame once.
    """

    exchange: str
    kind: str
    day: date
    places: pa.Table


def newest(lake: Lake, engine: Engine, wanted: Wanted, limit: int) -> pa.Table:
    """The letters received last, newest first, at most ``limit``; columns of REJECTED."""
    found = _sql(", ".join(f"r.{c}" for c in REJECTED.columns))
    order = "received_at desc, epoch desc, kafka_partition desc, kafka_offset desc, frame_index"
    sql = f"select * from ({found}) l order by {order} limit {int(limit)}"
    return engine.query(sql, _inputs(lake, wanted), REJECTED.schema)


def counts(lake: Lake, engine: Engine, wanted: Wanted) -> pa.Table:
    """How many letters there are by exchange, kind and reason, the most frequent first.

    Columns exchange, kind, reason, letters, first_day and last_day of arrival.
    """
    found = _sql("r.exchange, r.kind, r.reason, r.ingest_date")
    sql = (
        "select exchange, kind, reason, count(*) as letters,"
        " min(ingest_date) as first_day, max(ingest_date) as last_day"
        f" from ({found}) l group by exchange, kind, reason"
        " order by letters desc, exchange, kind, reason"
    )
    return engine.query(sql, _inputs(lake, wanted))


def rejected_of_day(lake: Lake, engine: Engine, day: date) -> dict[str, int]:
    """How many rows of the day were rejected, by exchange and reason: ``binance: bad_decimal``."""
    table = lake.table(REJECTED_TABLE)
    return _by_reason(engine, planned(table, REJECTED.schema, of_day("ingest_date", day)))


def rejected_since(lake: Lake, engine: Engine, sequence: int) -> dict[str, int]:
    """How many rows were rejected after that sequence of the table, by exchange and reason.

    Rows that a recompute of their day wrote again are not counted again.
    """
    table = lake.table(REJECTED_TABLE)
    changes = changes_since(table, sequence)
    snapshots = [c.snapshot for c in changes if c.mode is Mode.APPEND]
    return _by_reason(engine, appended(table, snapshots, REJECTED.schema))


def _by_reason(engine: Engine, files: Files) -> dict[str, int]:
    counted = engine.query(
        "select exchange || ': ' || reason as what, count(*) as n"
        " from rejected group by 1 order by 1",
        {"rejected": files},
    )
    return {r["what"]: r["n"] for r in counted.to_pylist()}


def batches(lake: Lake, engine: Engine, wanted: Wanted, at_most: int) -> Iterator[Batch]:
    """The frames with letters wanted, oldest days first, ``at_most`` of them at once."""
    found = _sql("r.exchange, r.kind, r.ingest_date")
    days = (
        f"select distinct exchange, kind, ingest_date as day from ({found}) l"
        " order by day, exchange, kind"
    )
    for row in engine.query(days, _inputs(lake, wanted)).to_pylist():
        places = _places(lake, engine, _narrowed(wanted, **row))
        for start in range(0, places.num_rows, at_most):
            yield Batch(row["exchange"], row["kind"], row["day"], places.slice(start, at_most))


def _places(lake: Lake, engine: Engine, wanted: Wanted) -> pa.Table:
    found = _sql("r.epoch, r.kafka_partition, r.kafka_offset")
    sql = f"select distinct * from ({found}) l order by epoch, kafka_partition, kafka_offset"
    return engine.query(sql, _inputs(lake, wanted))


def _narrowed(wanted: Wanted, exchange: str, kind: str, day: date) -> Wanted:
    conditions = asdict(wanted)
    return Wanted(
        **conditions | {"exchange": exchange, "kind": kind, "first_day": day, "last_day": day}
    )


def _sql(columns: str) -> str:
    return statement("letters").format(columns=columns)


def _inputs(lake: Lake, wanted: Wanted) -> dict[str, Input]:
    return {"rejected": wanted.files(lake), "wanted": wanted.row()}
