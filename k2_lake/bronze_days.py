"""A day of bronze beside Kafka: how far it reaches, what it lacks, and putting it right.

Both ways of putting it right are recomputes of the day: silver then takes the day as a whole, so
that no frame is parsed twice into it, whatever it had of the day before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    EqualTo,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
)
from pyiceberg.table import Table

from k2_lake.bronze import Position, of_epoch
from k2_lake.commit import commit
from k2_lake.engine import Engine, statement
from k2_lake.history import KAFKA, Mode, lineage
from k2_lake.retained import retained
from k2_lake.scan import Files, of_day, planned
from k2_market.errors import FileBroken
from k2_market.records import RAW_FRAME

# Neighbouring days with frames that are looked at for where a partition's offsets of the day begin.
DAYS_AROUND = 7

_BOUNDS = """
select kafka_partition as p, count(*) as frames,
  min(kafka_offset) as first, max(kafka_offset) as last
from frames where epoch = {epoch} group by kafka_partition
"""
_Bounds = Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class HeldDay:
    """What a bronze table holds of a day of arrival.

    ``frames`` counts all of them, ``present`` those of the present life of the topic, ``epoch``.
    ``spans`` tells by partition from which offset (inclusive) to which (exclusive) the day reaches
    in it, as far as the days around it tell.
    """

    day: date
    epoch: int
    frames: int
    present: int
    spans: _Bounds


@dataclass(frozen=True)
class Compared:
    """Frames of Kafka beside those of bronze: how many are equal, and the others.

    ``differing`` holds (partition, offset) of those with another content, ``missing`` the frames
    that bronze lacks.
    """

    equal: int
    differing: list[tuple[int, int]]
    missing: pa.Table


def held_day(engine: Engine, table: Table, day: date, at: Position) -> HeldDay:
    """What ``table``, which stands at that position, holds of a day of arrival."""
    files = planned(table, RAW_FRAME.schema, of_day(RAW_FRAME.day, day))
    here, present = _readable_bounds(engine, files, at.epoch)
    earlier = _around(engine, table, LessThan(RAW_FRAME.day, day), at)
    later = _around(engine, table, GreaterThan(RAW_FRAME.day, day), at)
    begun = _begun(table, at.epoch) if retained(table).holds(day) else dict.fromkeys(at.offsets, 0)
    spans = {}
    for p, following in at.offsets.items():
        starts = [here[p][0]] if p in here else []
        starts += [earlier[p][1] + 1] if p in earlier else [begun[p]] if p in begun else []
        ends = [here[p][1] + 1] if p in here else []
        ends += [later[p][0]] if p in later else [following]
        if starts:
            spans[p] = (min(starts), max(*ends, min(starts)))
    return HeldDay(day, at.epoch, files.rows, present, spans)


def compare(engine: Engine, table: Table, held: HeldDay, came: pa.Table) -> Compared:
    """Frames of the day as Kafka holds them beside those of the table."""
    if not came.num_rows:
        return Compared(0, [], came)
    offsets: Any = pc.min_max(came["kafka_offset"]).as_py()
    near = And(
        of_day(RAW_FRAME.day, held.day),
        And(
            GreaterThanOrEqual("kafka_offset", offsets["min"]),
            LessThanOrEqual("kafka_offset", offsets["max"]),
        ),
    )
    files = planned(table, RAW_FRAME.schema, near)
    sql = statement("frames_compared").format(epoch=held.epoch)
    other = engine.query(sql, {"came": came, "held": files}).to_pylist()
    lacking = {(r["kafka_partition"], r["kafka_offset"]) for r in other if r["missing"]}
    places = zip(came["kafka_partition"].to_pylist(), came["kafka_offset"].to_pylist(), strict=True)
    is_missing = pa.array([place in lacking for place in places], pa.bool_()) if lacking else None
    return Compared(
        equal=came.num_rows - len(other),
        differing=[(r["kafka_partition"], r["kafka_offset"]) for r in other if not r["missing"]],
        missing=came.slice(0, 0) if is_missing is None else came.filter(is_missing),
    )


def add_missing(table: Table, held: HeldDay, frames: pa.Table) -> None:
    """Add frames that the day lacks; where reading of the topic goes on stays as it is."""
    commit(
        table,
        add=[of_epoch(frames, held.epoch)],
        mode=Mode.RECOMPUTE,
        days=[held.day],
        figures={"fetched": frames.num_rows},
        extra=retained(table).with_restored(held.day).to_extra(),
    )


def replace_day(table: Table, held: HeldDay, parts: Iterable[pa.Table], frames: int) -> None:
    """Put these frames, ``frames`` in all, in the place of the day, in one commit."""
    commit(
        table,
        add=(of_epoch(part, held.epoch) for part in parts),
        remove=planned(table, RAW_FRAME.schema, of_day(RAW_FRAME.day, held.day)).files,
        mode=Mode.RECOMPUTE,
        days=[held.day],
        figures={"replaced": held.frames, "fetched": frames},
        extra=retained(table).with_restored(held.day).to_extra(),
    )


def _readable_bounds(engine: Engine, files: Files, epoch: int) -> tuple[_Bounds, int]:
    """First and last offset by partition in the files that can be read, and how many frames."""
    try:
        return _bounds(engine, files, epoch)
    except FileBroken:
        found: dict[int, tuple[int, int]] = {}
        frames = 0
        for file in files.files if len(files.files) > 1 else ():
            bounds, more = _readable_bounds(engine, files.only((file,)), epoch)
            frames += more
            for p, (first, last) in bounds.items():
                known = found.get(p, (first, last))
                found[p] = (min(known[0], first), max(known[1], last))
        return found, frames


def _bounds(engine: Engine, files: Files, epoch: int) -> tuple[_Bounds, int]:
    rows = engine.query(_BOUNDS.format(epoch=epoch), {"frames": files}).to_pylist()
    return {r["p"]: (r["first"], r["last"]) for r in rows}, sum(r["frames"] for r in rows)


def _around(engine: Engine, table: Table, side: BooleanExpression, at: Position) -> _Bounds:
    """By partition, first and last offset on the nearest day of that side that has any."""
    files = planned(table, RAW_FRAME.schema, And(side, EqualTo("epoch", at.epoch)))

    def day(file: Any) -> Any:
        return file.partition[0]

    ordered = sorted(files.files, key=day, reverse=isinstance(side, LessThan))
    wanted = {p for p, following in at.offsets.items() if following}
    found: dict[int, tuple[int, int]] = {}
    for number, (_, group) in enumerate(groupby(ordered, day)):
        if not wanted - found.keys() or number == DAYS_AROUND:
            break
        bounds, _ = _readable_bounds(engine, files.only(group), at.epoch)
        found = {**bounds, **found}
    return found


def _begun(table: Table, epoch: int) -> dict[int, int]:
    """The first offset by partition that a kept commit tells of this life of the topic."""
    found: dict[int, int] = {}
    for snapshot in lineage(table):
        properties = {} if snapshot.summary is None else snapshot.summary.additional_properties
        kafka = json.loads(properties.get(KAFKA, "{}"))
        if kafka.get("epoch") == epoch:
            for p, start in kafka["start"].items():
                found[int(p)] = min(found.get(int(p), start), start)
    return found
