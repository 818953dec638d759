"""A day of bronze put right from Kafka: reconciled, which never deletes, or replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import Enum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from k2_assets.ingest import FRAMES_PER_COMMIT, FRAMES_PER_COMMIT_EMBEDDED
from k2_feeds.kafka.admin import topic_id
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_lake.bronze import position
from k2_lake.bronze_days import Compared, HeldDay, add_missing, compare, held_day, replace_day
from k2_lake.catalog import Lake
from k2_lake.commit import retry_conflicts
from k2_lake.engine import Engine
from k2_lake.retained import retained
from k2_lake.tables import bronze_name, name_of
from k2_market.errors import DayRetired, InvariantBroken, ReplacementRefused
from k2_market.kinds import Kind

SHOWN = 10


class DayMode(Enum):
    """What a run does with the day of a bronze table; run configurations say it by these names."""

    reconcile = "reconcile"
    """Fetch what is missing and Kafka still holds, compare the rest; never delete."""

    replace = "replace"
    """Put the frames that Kafka holds in the place of the day: only if it holds the whole day."""


@dataclass
class _Survey:
    """What Kafka holds of a day, beside what the table has.

    ``cut`` are partitions of which Kafka has forgotten some of the day: where it begins now, and
    where the day does.
    """

    frames: int = 0
    equal: int = 0
    differing: list[tuple[int, int]] = field(default_factory=list)
    missing: list[pa.Table] = field(default_factory=list)
    cut: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, frames: int, compared: Compared) -> None:
        self.frames += frames
        self.equal += compared.equal
        self.differing += compared.differing
        self.missing += [compared.missing] if compared.missing.num_rows else []


@retry_conflicts
def put_right(
    lake: Lake,
    engine: Engine,
    kafka: KafkaSettings,
    exchange: str,
    kind: Kind,
    day: date,
    mode: DayMode,
) -> dict[str, int]:
    """Reconcile or replace the day of ``bronze.<exchange>_<kind>``, which must be up to its topic.

    Figures: verified (frames equal in both, byte by byte), fetched (frames added, or all of the day
    where it was replaced), beyond_kafka (frames that the table has and Kafka no longer). Raises
    ReplacementRefused with the numbers, InvariantBroken where frames differ, DayRetired for a day
    that retention has dropped and Kafka does not hold whole, OffsetHole, BrokerUnavailable.
    """
    table = lake.table(bronze_name(exchange, kind))
    at = position(table)
    with TopicReader(kafka, raw_topic(kind, exchange)) as reader:
        kept = reader.watermarks()
        if at is None:
            return _figures(0, 0, 0)
        held = held_day(engine, table, day, at)
        if not kept or not at.is_of(reader.cluster_id(), topic_id(kafka, reader.topic) or ""):
            held = replace(held, present=0, spans={})
        limit = FRAMES_PER_COMMIT_EMBEDDED if kafka.embedded else FRAMES_PER_COMMIT
        source = _Source(reader, held, kept, limit)
        if mode is DayMode.replace:
            return _replaced(table, held, source)
        return _reconciled(engine, table, held, source)


@dataclass(frozen=True)
class _Source:
    """The day's frames as Kafka holds them; ``kept`` are first and next offset by partition."""

    reader: TopicReader
    held: HeldDay
    kept: Mapping[int, tuple[int, int]]
    limit: int

    def frames(self, survey: _Survey | None = None) -> Iterator[pa.Table]:
        """Batch by batch those that arrived on the day."""
        spans = {p: span for p, span in self.held.spans.items() if p in self.kept}
        offsets = {p: min(max(start, self.kept[p][0]), end) for p, (start, end) in spans.items()}
        if survey is not None:
            survey.cut = {p: (self.kept[p][0], s) for p, (s, e) in spans.items() if s < offsets[p]}
        ends = {p: end for p, (_, end) in spans.items()}
        while (batch := self.reader.read(offsets, ends, self.limit)) is not None:
            if survey is not None:
                _uncut(survey, batch.table, self.held.day)
            offsets = batch.next_offsets
            arrived = pc.equal(batch.table["ingest_date"], pa.scalar(self.held.day, pa.date32()))
            yield batch.table.filter(arrived)


def _uncut(survey: _Survey, frames: pa.Table, day: date) -> None:
    """A partition is whole after all where Kafka still holds a frame of an earlier day first."""
    for p, (first, _) in list(survey.cut.items()):
        at_first = pc.and_(
            pc.equal(frames["kafka_partition"], pa.scalar(p, pa.int32())),
            pc.equal(frames["kafka_offset"], pa.scalar(first, pa.int64())),
        )
        days: list[Any] = frames.filter(at_first)["ingest_date"].to_pylist()
        if days and days[0] < day:
            del survey.cut[p]


def _reconciled(engine: Engine, table: Table, held: HeldDay, source: _Source) -> dict[str, int]:
    survey = _Survey()
    for frames in source.frames(survey):
        survey.add(frames.num_rows, compare(engine, table, held, frames))
    if survey.differing:
        raise InvariantBroken(_told_differing(table, held, survey.differing))
    fetched = sum(part.num_rows for part in survey.missing)
    dropped = not retained(table).holds(held.day)
    if dropped and survey.cut:
        raise DayRetired(
            f"{name_of(table)} of {held.day} was dropped by retention, and Kafka no longer holds "
            f"all of it: {_told_cut(survey.cut)}. It was left as it is."
        )
    if fetched:
        add_missing(table, held, pa.concat_tables(survey.missing))
    return _figures(survey.equal, fetched, held.frames - survey.equal)


def _replaced(table: Table, held: HeldDay, source: _Source) -> dict[str, int]:
    survey = _Survey()
    for frames in source.frames(survey):
        survey.frames += frames.num_rows
    if not survey.frames and not held.frames:
        return _figures(0, 0, 0)
    beyond = held.frames - held.present
    reasons = [_told_cut(survey.cut)] if survey.cut else []
    if survey.frames < held.frames:
        reasons.append(
            f"it holds {survey.frames:,} frames of the day and the table {held.frames:,}"
        )
    if beyond > 0:
        reasons.append(f"{beyond:,} of them are of an earlier life of the topic, or cannot be read")
    if survey.cut or survey.frames < held.frames:
        raise ReplacementRefused(
            f"{name_of(table)} of {held.day} cannot be replaced from Kafka: {'; '.join(reasons)}. "
            f"The table was left as it is; `mode: {DayMode.reconcile.value}` fetches what it lacks."
        )
    replace_day(table, held, source.frames(), survey.frames)
    return {**_figures(0, survey.frames, 0), "replaced": held.frames}


def _figures(verified: int, fetched: int, beyond: int) -> dict[str, int]:
    return {"verified": verified, "fetched": fetched, "beyond_kafka": max(beyond, 0)}


def _told_cut(cut: Mapping[int, tuple[int, int]]) -> str:
    parts = [
        f"partition {p} from offset {first} on, where the day begins at {start}"
        for p, (first, start) in sorted(cut.items())
    ]
    return "Kafka holds " + ", ".join(parts)


def _told_differing(table: Table, held: HeldDay, places: list[tuple[int, int]]) -> str:
    named = ", ".join(f"{p}:{offset}" for p, offset in places[:SHOWN])
    return (
        f"{name_of(table)} of {held.day} holds {len(places)} frames with another content than "
        f"Kafka at the same place (partition:offset {named}). Nothing was changed. If Kafka is "
        f"right, replace the day: run it with `mode: {DayMode.replace.value}`."
    )
