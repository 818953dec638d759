"""Counts that must agree from Kafka's offsets to the candles.

Each function compares figures that come by two ways: what commits recorded of their work, and what
the files hold. Where retention has dropped one of the two, the verdict agrees and says "retired".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date

import pyarrow.compute as pc
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, In, LessThanOrEqual
from pyiceberg.table.snapshots import Snapshot

from k2_lake.aggregates import overlaps
from k2_lake.bronze import position
from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.history import (
    FIGURES,
    KAFKA,
    Change,
    Consumed,
    Mode,
    changes_since,
    commits_since,
    consumed,
    snapshot_at,
)
from k2_lake.retained import ONE_DAY, gone, retained, silver_gone
from k2_lake.scan import Files, of_day, planned
from k2_lake.scope import Scope, Verdict, retired_verdict
from k2_lake.tables import (
    REJECTED_TABLE,
    bronze_name,
    name_of,
    silver_name,
)
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME, REJECTED

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


def offsets_contiguous(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """Every offset of a span is there once, by epoch and partition.

    Over whole days their span counts with what other days hold of it: at midnight neighbouring
    offsets fall on different days.
    """
    recomputed = _recomputed_days(lake, scope)
    files = _held_or_added(lake, scope, recomputed)
    spans = engine.query(_SPANS, {"frames": files})
    if (scope.since is None or recomputed) and spans.num_rows:
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
    if (
        missing
        and not repeated
        and not retained(lake.table(scope.table)).holds(scope.day - ONE_DAY)
    ):
        return Verdict(True, {"frames": frames, "missing": missing, "retired": "the day before"})
    return Verdict(
        not repeated and not missing, {"frames": frames, "repeated": repeated, "missing": missing}
    )


def _held_or_added(lake: Lake, scope: Scope, recomputed: frozenset[date]) -> Files:
    """The frames in scope; where days were replaced, all that the days touched hold now.

    What was added and then rolled back is not there any more, and what came again is there once.
    """
    if not recomputed:
        return scope.files(lake)
    days = sorted(_days(scope.changes(lake)))
    return planned(lake.table(scope.table), RAW_FRAME.schema, In("ingest_date", days))


def _recomputed_days(lake: Lake, scope: Scope) -> frozenset[date]:
    return _recomputed(scope.changes(lake))


def _recomputed(changes: Iterable[Change]) -> frozenset[date]:
    return _days(c for c in changes if c.mode is Mode.RECOMPUTE)


def _days(changes: Iterable[Change]) -> frozenset[date]:
    return frozenset(day for change in changes for day in change.days)


def offsets_recorded(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """The offsets that appends recorded span the rows they carry, and no row lies beyond them."""
    spans = rows = 0
    counted: set[str | None] = set()
    for change in _appends(scope.changes(lake)):
        kafka = json.loads(_properties(change.snapshot).get(KAFKA, '{"next": {}}'))
        # A commit that read nothing carries the offsets of the one before it.
        if kafka.get("batch") not in counted:
            spans += sum(int(end) - int(kafka["start"][p]) for p, end in kafka["next"].items())
        counted.add(kafka.get("batch"))
        rows += _added(change.snapshot)
    at = position(lake.table(scope.table))
    files = _held_or_added(lake, scope, _recomputed_days(lake, scope))
    beyond = sum(
        1
        for s in engine.query(_SPANS, {"frames": files}).to_pylist()
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
    Over a whole day the rows themselves are compared with the frames they came from, as they are
    for the days that bronze had computed anew.
    """
    if scope.since is None:
        return _told_once(lake, engine, scope.day, exchange, kind)
    source = bronze_name(exchange, kind)
    bronze, silver = lake.table(source), lake.table(scope.table)
    start = consumed(silver, scope.since).get(source, Consumed()).through
    through = consumed(silver).get(source, Consumed()).through
    # Also those without rows: of frames that were all rejected, or carried no market data.
    ticks = _appends(commits_since(silver, scope.since))
    figures = _sum_figures(ticks)
    followed = [c for c in changes_since(bronze, start) if c.sequence <= through]
    frames = sum(_added(c.snapshot) for c in _appends(followed))
    stored = sum(_added(c.snapshot) for c in ticks)
    days = sorted(_recomputed(followed))
    anew = {d: _told_once(lake, engine, d, exchange, kind) for d in days}
    return Verdict(
        figures.get("frames", 0) == frames
        and figures.get(kind, 0) == stored
        and all(verdict.agrees for verdict in anew.values()),
        {"bronze_frames": frames, **figures, "rows_added": stored}
        | {f"{day} {name}": n for day, v in anew.items() for name, n in v.figures.items()},
    )


def _told_once(lake: Lake, engine: Engine, day: date, exchange: str, kind: Kind) -> Verdict:
    source = bronze_name(exchange, kind)
    bronze, silver = lake.table(source), lake.table(silver_name(exchange, kind))
    if dropped := gone([bronze, silver], day):
        return retired_verdict(dropped)
    through = consumed(silver).get(source, Consumed()).through
    arrived, rejected = of_day("ingest_date", day), lake.table(REJECTED_TABLE)
    refused = And(of_day("ingest_date", day, [exchange]), EqualTo("kind", str(kind)))
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
    table, arrived_in = (
        lake.table(scope.table),
        [lake.table(silver_name(e, kind)) for e in EXCHANGES],
    )
    if dropped := gone([table], scope.day):
        return retired_verdict(dropped)
    if missing := silver_gone(table, kind, arrived_in, scope.day):
        return retired_verdict(", ".join(f"{name_of(t)} has dropped rows of it" for t in missing))
    gold = planned(table, record.schema, of_the_day)
    silver = Files(record.schema, ())
    for each in arrived_in:
        silver += planned(each, record.schema, of_the_day)
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


def _properties(snapshot: Snapshot) -> Mapping[str, str]:
    return {} if snapshot.summary is None else snapshot.summary.additional_properties


def _added(snapshot: Snapshot) -> int:
    return int(_properties(snapshot).get("added-records", 0))


def _deleted(snapshot: Snapshot) -> int:
    return int(_properties(snapshot).get("deleted-records", 0))


def _appends(changes: Iterable[Change]) -> list[Change]:
    return [change for change in changes if change.mode is Mode.APPEND]


def _sum_figures(changes: list[Change]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for change in changes:
        for name, value in json.loads(_properties(change.snapshot).get(FIGURES, "{}")).items():
            totals[name] = totals.get(name, 0) + int(value)
    return totals
