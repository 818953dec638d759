"""Counts that must agree from Kafka's offsets to the candles.

Each function compares figures that come by two ways: what commits recorded of their work, and what
the files hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import pyarrow.compute as pc
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThanOrEqual
from pyiceberg.table.snapshots import Snapshot

from k2_lake.aggregates import overlaps
from k2_lake.bronze import KAFKA, position
from k2_lake.candles import WINDOWS, candle_sql
from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.history import FIGURES, Change, Consumed, Mode, changes_since, consumed, snapshot_at
from k2_lake.scan import Files, appended, between, of_day, planned
from k2_lake.scope import Scope, Verdict
from k2_lake.tables import (
    REJECTED_TABLE,
    TRADES_TABLE,
    bronze_name,
    candle_name,
    silver_name,
    table_def,
)
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.records import CANDLE, RAW_FRAME, REJECTED, TRADE
from k2_market.timeframes import day_bounds, timeframe

_SPANS = """
select epoch, kafka_partition, count(*) as frames,
  min(kafka_offset) as first, max(kafka_offset) as last
from frames group by epoch, kafka_partition
"""
_HELD = """
select f.epoch, f.kafka_partition, count(*) as frames, count(distinct f.kafka_offset) as offsets
from frames f
join spans s on f.epoch = s.epoch and f.kafka_partition = s.kafka_partition
  and f.kafka_offset between s.first and s.last
group by f.epoch, f.kafka_partition
"""
# Rows told of a day's frames: each place once, and each from a frame that bronze has.
_TOLD = """
with told as (
  select epoch, kafka_partition, kafka_offset, frame_index from accepted
  union all
  select epoch, kafka_partition, kafka_offset, frame_index from rejected)
select (select count(*) from frames) as frames, (select count(*) from told) as rows_told,
  (select count(*) from told) - (select count(*) from (select distinct * from told) d) as repeated,
  (select count(*) from told t where not exists (
    select 1 from frames f where f.epoch = t.epoch
      and f.kafka_partition = t.kafka_partition and f.kafka_offset = t.kafka_offset)) as strays
"""
_DIFFERING = """
select count(*) as n from (
  (select * from ours except all select * from expected)
  union all (select * from expected except all select * from ours)) d
"""
_CANDLE_SUMS = """
select sum(trade_count) as trades, sum(volume) as volume, sum(quote_volume) as quote
from source
where window_start >= timestamp '{start}' and window_start < timestamp '{end}'
"""
_TRADE_SUMS = """
select sum(trade_count) as trades, sum(quantity) as volume,
  sum(cast(price as decimal(28,8)) * quantity) as quote
from source
where candle_eligible and timestamp >= timestamp '{start}' and timestamp < timestamp '{end}'
"""


def offsets_contiguous(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """Every offset of a span is there once, by epoch and partition.

    Over a whole day its span counts with what other days hold of it: at midnight neighbouring
    offsets fall on different days.
    """
    files = scope.files(lake)
    spans = engine.query(_SPANS, {"frames": files})
    if scope.since is None and spans.num_rows:
        table = lake.table(scope.table)
        first, last = pc.min(spans["first"]).as_py(), pc.max(spans["last"]).as_py()
        within = And(
            GreaterThanOrEqual("kafka_offset", first), LessThanOrEqual("kafka_offset", last)
        )
        files = planned(table, RAW_FRAME.schema, within)
    held = engine.query(_HELD, {"frames": files, "spans": spans}).to_pylist()
    offsets = sum(r["offsets"] for r in held)
    repeated = sum(r["frames"] for r in held) - offsets
    missing = sum(s["last"] - s["first"] + 1 for s in spans.to_pylist()) - offsets
    frames = sum(s["frames"] for s in spans.to_pylist())
    return Verdict(
        not repeated and not missing, {"frames": frames, "repeated": repeated, "missing": missing}
    )


def offsets_recorded(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """The offsets that commits recorded span the rows they carry, and no row lies beyond them."""
    spans = rows = 0
    for change in scope.changes(lake):
        kafka = json.loads(_properties(change.snapshot).get(KAFKA, '{"next": {}}'))
        spans += sum(int(end) - int(kafka["start"][p]) for p, end in kafka["next"].items())
        rows += _added(change.snapshot)
    at = position(lake.table(scope.table))
    beyond = sum(
        1
        for s in engine.query(_SPANS, {"frames": scope.files(lake)}).to_pylist()
        if at is None
        or s["epoch"] > at.epoch
        or (s["epoch"] == at.epoch and s["last"] >= at.offsets.get(s["kafka_partition"], 0))
    )
    return Verdict(
        spans == rows and not beyond,
        {"offsets": spans, "rows": rows, "partitions_beyond_record": beyond},
    )


def silver_reconciled(
    lake: Lake, engine: Engine, scope: Scope, exchange: str, kind: Kind
) -> Verdict:
    """Frames of bronze = frames told, and rows told = rows stored.

    Every frame is rows, rejected, control or of another channel; silver's own commit proves it.
    Over a whole day the rows themselves are compared with the frames they came from.
    """
    if scope.since is None:
        return _told_once(lake, engine, scope, exchange, kind)
    source = bronze_name(exchange, kind)
    bronze, silver = lake.table(source), lake.table(scope.table)
    start = consumed(silver, scope.since).get(source, Consumed()).through
    through = consumed(silver).get(source, Consumed()).through
    ticks = [c for c in scope.changes(lake) if c.mode is Mode.APPEND]
    figures = _sum_figures(ticks)
    frames = sum(_added(c.snapshot) for c in changes_since(bronze, start) if c.sequence <= through)
    stored = sum(_added(c.snapshot) for c in ticks)
    return Verdict(
        figures.get("frames", 0) == frames and figures.get(kind, 0) == stored,
        {"bronze_frames": frames, **figures, "rows_added": stored},
    )


def _told_once(lake: Lake, engine: Engine, scope: Scope, exchange: str, kind: Kind) -> Verdict:
    source = bronze_name(exchange, kind)
    bronze, silver = lake.table(source), lake.table(scope.table)
    through = consumed(silver).get(source, Consumed()).through
    arrived, rejected = of_day("ingest_date", scope.day), lake.table(REJECTED_TABLE)
    refused = And(of_day("ingest_date", scope.day, [exchange]), EqualTo("kind", str(kind)))
    at = snapshot_at(bronze, through)
    frames = planned(bronze, RAW_FRAME.schema, arrived, at) if at else Files(RAW_FRAME.schema, ())
    [told] = engine.query(
        _TOLD,
        {
            "frames": frames,
            "accepted": planned(silver, kind.record.schema, arrived),
            "rejected": planned(rejected, REJECTED.schema, refused),
        },
    ).to_pylist()
    return Verdict(not told["repeated"] and not told["strays"], told)


def gold_reconciled(lake: Lake, engine: Engine, scope: Scope, kind: Kind) -> Verdict:
    """Silver rows of the day = gold rows + duplicates, and no row is in gold twice.

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
    record, of_the_day = kind.record, of_day(kind.record.day, scope.day)
    gold = planned(lake.table(scope.table), record.schema, of_the_day)
    silver = Files(record.schema, ())
    for exchange in EXCHANGES:
        silver += planned(lake.table(silver_name(exchange, kind)), record.schema, of_the_day)
    sql = (
        f"select count(*) as n, count(distinct ({', '.join(record.key)})) as ids "
        f"from held where {record.day} = date '{scope.day.isoformat()}'"
    )
    kept = engine.query(sql, {"held": gold}).to_pylist()[0]
    arrived = engine.query(sql, {"held": silver}).to_pylist()[0]
    twice = overlaps(engine, silver, scope.day) if kind is Kind.TRADES else 0
    return Verdict(
        kept["n"] == kept["ids"] == arrived["ids"] - twice,
        {
            "silver_rows": arrived["n"],
            "gold_rows": kept["n"],
            "duplicates": arrived["n"] - arrived["ids"],
        }
        | ({"raw_and_aggregated": twice} if twice else {}),
    )


def minutes_reconciled(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """The 1m candles in scope sum up to the eligible trades of their windows.

    After a tick only the stretch that its windows reach over is summed, so that the check too costs
    what is new.
    """
    start, end = _stretch(lake, scope)
    day = And(of_day("window_date", scope.day), between("window_start", start, end))
    candles = planned(lake.table(scope.table), CANDLE.schema, day)
    day = And(of_day("trade_date", scope.day), between("timestamp", start, end))
    trades = planned(lake.table(TRADES_TABLE), TRADE.schema, day)
    reach = {"start": start.isoformat(), "end": end.isoformat()}
    ours = engine.query(_CANDLE_SUMS.format(**reach), {"source": candles}).to_pylist()[0]
    theirs = engine.query(_TRADE_SUMS.format(**reach), {"source": trades}).to_pylist()[0]
    same = all(_decimal(ours[k]) == _decimal(theirs[k]) for k in ours)
    return Verdict(same, {**reach, **_text("candles", ours), **_text("source", theirs)})


def _stretch(lake: Lake, scope: Scope) -> tuple[datetime, datetime]:
    """From the first window that the commits in scope computed to the end of the last."""
    changes = scope.changes(lake)
    told = [_properties(c.snapshot).get(WINDOWS) for c in changes]
    if not changes or None in told:
        return day_bounds(scope.day)
    bounds = [[datetime.fromisoformat(t) for t in json.loads(w)] for w in told if w is not None]
    return min(b[0] for b in bounds), max(b[1] for b in bounds)


def rollup_reconciled(lake: Lake, engine: Engine, day: date, name: str) -> Verdict:
    """The day's candles of a coarser timeframe are what its 1m candles make. Raises UnknownName."""
    candles = planned(lake.table(candle_name(name)), CANDLE.schema, of_day("window_date", day))
    minutes = planned(lake.table(candle_name("1m")), CANDLE.schema, of_day("window_date", day))
    expected = engine.query(candle_sql(timeframe(name)), {"candles": minutes}, CANDLE.schema)
    found = engine.query(_DIFFERING, {"ours": candles, "expected": expected}).to_pylist()[0]["n"]
    return Verdict(
        not found, {"candles": candles.rows, "expected": expected.num_rows, "differing": found}
    )


def rejected_of_day(lake: Lake, engine: Engine, day: date) -> dict[str, int]:
    """How many rows of the day were rejected, by exchange and reason: ``binance: bad_decimal``."""
    table = lake.table(REJECTED_TABLE)
    schema = table_def(REJECTED_TABLE).schema
    return _by_reason(engine, planned(table, schema, of_day("ingest_date", day)))


def rejected_since(lake: Lake, engine: Engine, sequence: int) -> dict[str, int]:
    """How many rows were rejected after that sequence of the table, by exchange and reason.

    Rows that a recompute of their day wrote again are not counted again.
    """
    table = lake.table(REJECTED_TABLE)
    changes = changes_since(table, sequence)
    snapshots = [c.snapshot for c in changes if c.mode is Mode.APPEND]
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
