"""Counts that must agree from Kafka's offsets to the candles, and the rows to check.

Each function compares figures that come by two ways: what commits recorded of their work, and what
the files hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pyarrow as pa
from pyiceberg.table.snapshots import Snapshot

from k2_lake.bronze import KAFKA
from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.history import FIGURES, Change, Consumed, changes_since, consumed
from k2_lake.scan import Files, appended, of_day, planned
from k2_lake.tables import (
    REJECTED_TABLE,
    TRADES_TABLE,
    bronze_name,
    candle_name,
    silver_name,
    table_def,
)
from k2_market.exchanges import EXCHANGES
from k2_market.records import CANDLE, RAW_FRAME, TRADE
from k2_market.timeframes import timeframe

ROWS_AT_ONCE = 1_000_000

_CANDLE_SUMS = """
select sum(trade_count) as trades, sum(volume) as volume, sum(quote_volume) as quote from source
"""
_TRADE_SUMS = """
select sum(trade_count) as trades, sum(quantity) as volume,
  sum(cast(price as decimal(28,8)) * quantity) as quote
from source where candle_eligible
"""

Figures = Mapping[str, int | str]


@dataclass(frozen=True)
class Verdict:
    """Whether figures agree, and the figures."""

    agrees: bool
    figures: Figures


@dataclass(frozen=True)
class Scope:
    """The rows to look at: those committed to ``table`` after ``since``, or all of ``day``."""

    table: str
    day: date
    since: int | None

    def changes(self, lake: Lake) -> list[Change]:
        """The commits in scope, oldest first; none when the whole day is."""
        return [] if self.since is None else changes_since(lake.table(self.table), self.since)

    def files(self, lake: Lake) -> Files:
        """The files in scope."""
        definition, table = table_def(self.table), lake.table(self.table)
        if self.since is None:
            return planned(table, definition.schema, of_day(definition.record.day, self.day))
        return appended(table, [c.snapshot for c in self.changes(lake)], definition.schema)

    def rows(self, lake: Lake, engine: Engine) -> Iterator[pa.Table]:
        """The rows in scope, in pieces that fit into memory."""
        files = self.files(lake)
        piece: list[int] = []
        for index in range(len(files.files)):
            piece.append(index)
            if sum(files.files[i].record_count for i in piece) >= ROWS_AT_ONCE or index + 1 == len(
                files.files
            ):
                part = Files(files.schema, tuple(files.files[i] for i in piece))
                yield engine.query("select * from part", {"part": part}, files.schema)
                piece = []


def offsets_contiguous(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """Every offset of a span is there once, by epoch and partition.

    Over a whole day only repeats are wrong: at midnight the days of neighbouring offsets differ.
    """
    counted = engine.query(
        "select count(*) as frames, count(distinct kafka_offset) as distinct_offsets,"
        " max(kafka_offset) - min(kafka_offset) + 1 as span"
        " from frames group by epoch, kafka_partition",
        {"frames": scope.files(lake)},
    ).to_pylist()
    frames = sum(r["frames"] for r in counted)
    repeated = frames - sum(r["distinct_offsets"] for r in counted)
    missing = (
        sum(r["span"] - r["distinct_offsets"] for r in counted) if scope.since is not None else 0
    )
    return Verdict(
        not repeated and not missing, {"frames": frames, "repeated": repeated, "missing": missing}
    )


def offsets_recorded(lake: Lake, _: Engine, scope: Scope) -> Verdict:
    """The offsets that commits recorded span as many messages as the rows they carry."""
    spans = rows = 0
    for change in scope.changes(lake):
        kafka = json.loads(_properties(change.snapshot)[KAFKA])
        spans += sum(int(end) - int(kafka["start"][p]) for p, end in kafka["next"].items())
        rows += _added(change.snapshot)
    return Verdict(spans == rows, {"offsets": spans, "rows": rows})


def silver_reconciled(lake: Lake, scope: Scope, exchange: str) -> Verdict:
    """Frames that silver consumed = frames of bronze; trades told = trades stored.

    Every frame is trades, rejected, control or of another channel; silver's own commit proves it.
    """
    bronze, silver = lake.table(bronze_name(exchange)), lake.table(silver_name(exchange))
    through = consumed(silver).get(bronze_name(exchange), Consumed()).through
    figures = _sum_figures(scope.changes(lake))
    arrived = sum(_added(c.snapshot) for c in changes_since(bronze, 0) if c.sequence <= through)
    held = planned(bronze, RAW_FRAME.schema).rows - sum(
        _added(c.snapshot) for c in changes_since(bronze, through)
    )
    stored = sum(_added(c.snapshot) for c in scope.changes(lake))
    return Verdict(
        arrived == held and (scope.since is None or figures.get("trades", 0) == stored),
        {"frames_committed": arrived, "frames_held": held, **figures, "rows_added": stored},
    )


def gold_reconciled(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """Silver rows of the day = gold rows + duplicates, and no trade is in gold twice.

    Within a tick the figures of the commits are compared with the rows that they added.
    """
    if scope.since is not None:
        figures = _sum_figures(scope.changes(lake))
        net = sum(_added(c.snapshot) - _deleted(c.snapshot) for c in scope.changes(lake))
        recomputed = figures.get("recomputed", 0) > 0
        told = figures.get("incoming", 0) == figures.get("added", 0) + figures.get("duplicates", 0)
        return Verdict(
            told and (recomputed or figures.get("added", 0) == net), {**figures, "net_rows": net}
        )
    gold = planned(lake.table(TRADES_TABLE), TRADE.schema, of_day("trade_date", scope.day))
    silver = Files(TRADE.schema, ())
    for exchange in EXCHANGES:
        silver += planned(
            lake.table(silver_name(exchange)), TRADE.schema, of_day("trade_date", scope.day)
        )
    sql = (
        "select count(*) as n, count(distinct (exchange, symbol, trade_id)) as ids "
        f"from trades where trade_date = date '{scope.day.isoformat()}'"
    )
    kept = engine.query(sql, {"trades": gold}).to_pylist()[0]
    arrived = engine.query(sql, {"trades": silver}).to_pylist()[0]
    return Verdict(
        kept["n"] == kept["ids"] == arrived["ids"],
        {
            "silver_rows": arrived["n"],
            "gold_rows": kept["n"],
            "duplicates": arrived["n"] - arrived["ids"],
        },
    )


def candles_reconciled(lake: Lake, engine: Engine, day: date, name: str) -> Verdict:
    """The sums over the day's candles equal those over its source: trades, or the finer candles."""
    frame = timeframe(name)
    candles = planned(lake.table(candle_name(name)), CANDLE.schema, of_day("window_date", day))
    if frame.source is None:
        source = planned(lake.table(TRADES_TABLE), TRADE.schema, of_day("trade_date", day))
        sql = _TRADE_SUMS
    else:
        source = planned(lake.table(candle_name("1m")), CANDLE.schema, of_day("window_date", day))
        sql = _CANDLE_SUMS
    ours = engine.query(_CANDLE_SUMS, {"source": candles}).to_pylist()[0]
    theirs = engine.query(sql, {"source": source}).to_pylist()[0]
    same = all(_decimal(ours[k]) == _decimal(theirs[k]) for k in ours)
    return Verdict(same, {**_text("candles", ours), **_text("source", theirs)})


def rejected_of_day(lake: Lake, engine: Engine, day: date) -> dict[str, int]:
    """How many rows of the day were rejected, by exchange and reason: ``binance: bad_decimal``."""
    table = lake.table(REJECTED_TABLE)
    schema = table_def(REJECTED_TABLE).schema
    return _by_reason(engine, planned(table, schema, of_day("ingest_date", day)))


def rejected_since(lake: Lake, engine: Engine, sequence: int) -> dict[str, int]:
    """How many rows were rejected after that sequence of the table, by exchange and reason."""
    table = lake.table(REJECTED_TABLE)
    snapshots = [c.snapshot for c in changes_since(table, sequence)]
    return _by_reason(engine, appended(table, snapshots, table_def(REJECTED_TABLE).schema))


def _by_reason(engine: Engine, files: Files) -> dict[str, int]:
    counted = engine.query(
        "select exchange || ': ' || reason as what, count(*) as n"
        " from rejected group by 1 order by 1",
        {"rejected": files},
    )
    return {r["what"]: r["n"] for r in counted.to_pylist()}


def _decimal(value: object) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))


def _text(prefix: str, row: Mapping[str, object]) -> dict[str, str]:
    return {f"{prefix}_{k}": str(v) for k, v in row.items()}


def _properties(snapshot: Snapshot) -> Mapping[str, str]:
    return {} if snapshot.summary is None else snapshot.summary.additional_properties


def _added(snapshot: Snapshot) -> int:
    return int(_properties(snapshot).get("added-records", 0))


def _deleted(snapshot: Snapshot) -> int:
    return int(_properties(snapshot).get("deleted-records", 0))


def _sum_figures(changes: list[Change]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for change in changes:
        for name, value in json.loads(_properties(change.snapshot).get(FIGURES, "{}")).items():
            totals[name] = totals.get(name, 0) + int(value)
    return totals
