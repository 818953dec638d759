"""Bronze: frames with their Kafka coordinates, exactly once.

The offsets live in the summary of the snapshot that carries the rows, so both appear together or
not at all. A row is known by (epoch, topic, partition, offset); an epoch is one life of the topic.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
from pyiceberg.table import Table

from k2_lake.commit import commit
from k2_lake.history import KAFKA, Mode, distinct_days, summary_value
from k2_lake.scan import planned
from k2_lake.tables import name_of
from k2_market.errors import InvariantBroken, LakeError, OffsetBeyondEnd
from k2_market.records import RAW_FRAME


@dataclass(frozen=True)
class Position:
    """Where reading of the topic goes on: ``offsets`` is the next offset by partition.

    ``topic_id`` is what the cluster calls this life of the topic, "" where it does not say.
    """

    epoch: int
    cluster_id: str
    offsets: Mapping[int, int] = field(default_factory=dict)
    topic_id: str = ""

    def is_of(self, cluster_id: str, topic_id: str) -> bool:
        """Whether the offsets are those of that topic: of the same cluster, and not made anew."""
        return self.cluster_id == cluster_id and self.topic_id in ("", topic_id)


def position(table: Table) -> Position | None:
    """The position that the table's lineage records, None for a table without rows.

    Raises LakeError for a table that has rows but no record of offsets: another writer's.
    """
    value = summary_value(table, KAFKA)
    if value is None:
        if table.current_snapshot() is not None and planned(table, RAW_FRAME.schema).rows:
            raise LakeError(
                f"{name_of(table)} has rows but no snapshot with Kafka offsets: it cannot be "
                "continued without losing or doubling frames. "
                "Roll it back to a snapshot written by K2."
            )
        return None
    found = json.loads(value)
    offsets = {int(p): int(o) for p, o in found["next"].items()}
    return Position(found["epoch"], found["cluster"], offsets, found.get("topic_id", ""))


def resume(
    table: Table,
    topic: str,
    cluster_id: str,
    topic_id: str = "",
    *,
    new_cluster_is_expected: bool,
) -> Position:
    """Where to read on in this cluster and this life of the topic.

    A cluster other than the recorded one begins a new epoch by itself only where that is expected:
    the embedded broker is new at every start. Elsewhere it raises OffsetBeyondEnd, as it does for a
    topic that was made anew, even if that has grown beyond the offsets that the table holds.
    """
    found = position(table)
    if found is None:
        return Position(1, cluster_id, topic_id=topic_id)
    if found.is_of(cluster_id, topic_id):
        return replace(found, topic_id=topic_id)
    if new_cluster_is_expected:
        return Position(found.epoch + 1, cluster_id, topic_id=topic_id)
    if found.cluster_id == cluster_id:
        raise OffsetBeyondEnd(
            f"{name_of(table)} holds {topic} up to offsets {dict(found.offsets)}, but that topic, "
            f"{found.topic_id}, was deleted and made anew as {topic_id}: its offsets mean other "
            "frames. To begin a new epoch with it: `k2 bronze new-epoch EXCHANGE --kind KIND`."
        )
    raise OffsetBeyondEnd(
        f"{name_of(table)} was filled from the Kafka cluster {found.cluster_id!r}, but {topic} "
        f"is served by {cluster_id!r}. Was the cluster replaced? Check K2_KAFKA_BOOTSTRAP; "
        "to begin a new epoch with the topic as it is now: `k2 bronze new-epoch EXCHANGE --kind "
        "KIND`."
    )


def begin_epoch(
    table: Table, topic: str, cluster_id: str, offsets: Mapping[int, int], topic_id: str = ""
) -> Position:
    """Record, without rows, that reading goes on at ``offsets`` of a new life of the topic.

    What the topic held between the old position and these offsets is given up; rows stay.
    """
    found = position(table)
    after = Position(1 if found is None else found.epoch + 1, cluster_id, offsets, topic_id)
    commit(
        table,
        mode=Mode.APPEND,
        days=[],
        extra={KAFKA: _kafka_json(topic, after, after)},
    )
    return after


def append_frames(
    table: Table, at: Position, frames: pa.Table, next_offsets: Mapping[int, int]
) -> Position:
    """Append frames read from ``at`` on; the position afterwards.

    ``frames``, at least one, has the columns of RawFrame but ``epoch``. Raises InvariantBroken
    unless they fill every partition from ``at`` to ``next_offsets`` without hole or repeat, and
    CommitConflict when another writer has moved the table since ``at`` was read from it.
    """
    _require_contiguous(table, at, frames, next_offsets)
    after = replace(at, offsets={**at.offsets, **next_offsets})
    commit(
        table,
        add=[of_epoch(frames, at.epoch)],
        mode=Mode.APPEND,
        days=distinct_days(frames["ingest_date"]),
        figures={"frames": frames.num_rows},
        extra={KAFKA: _kafka_json(frames["kafka_topic"][0].as_py(), at, after)},
    )
    return after


def of_epoch(frames: pa.Table, epoch: int) -> pa.Table:
    """Frames with the columns of RawFrame but ``epoch`` as rows of that life of the topic."""
    epochs = pa.repeat(pa.scalar(epoch, pa.int32()), frames.num_rows)
    rows = frames.append_column(RAW_FRAME.schema.field("epoch"), epochs)
    return rows.select(RAW_FRAME.columns).cast(RAW_FRAME.schema)


def _kafka_json(topic: str, at: Position, after: Position) -> str:
    return json.dumps(
        {
            "epoch": after.epoch,
            "cluster": after.cluster_id,
            "topic_id": after.topic_id,
            "topic": topic,
            "batch": uuid.uuid4().hex,
            "start": {str(p): at.offsets.get(p, 0) for p in after.offsets},
            "next": {str(p): o for p, o in after.offsets.items()},
        }
    )


def _require_contiguous(
    table: Table, at: Position, frames: pa.Table, next_offsets: Mapping[int, int]
) -> None:
    offset = "kafka_offset"
    counted = frames.group_by("kafka_partition").aggregate(
        [(offset, "count"), (offset, "count_distinct"), (offset, "min"), (offset, "max")]
    )
    found = {
        row["kafka_partition"]: (
            row["kafka_offset_min"],
            row["kafka_offset_max"] + 1,
            row["kafka_offset_count"],
            row["kafka_offset_count_distinct"],
        )
        for row in counted.to_pylist()
    }
    for partition in sorted(found.keys() | next_offsets.keys()):
        start = at.offsets.get(partition, 0)
        end = next_offsets.get(partition, start)
        first, last, count, distinct = found.get(partition, (start, start, 0, 0))
        if (first, last, count, distinct) != (start, end, end - start, end - start):
            raise InvariantBroken(
                f"{name_of(table)}: the frames of partition {partition} were to fill the offsets "
                f"from {start} to {end}, but {count} came, {distinct} of them distinct, from "
                f"{first} to {last} (each end exclusive). Nothing was committed; run again, and if "
                "it recurs, look at what else writes to the topic."
            )
