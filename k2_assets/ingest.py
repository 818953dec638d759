"""From Kafka into a bronze table: read by offset, commit with the offsets, until little is left.

The next frames are read while the last ones are committed: reading keeps the interpreter busy,
writing Parquet does not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from pyiceberg.table import Table

from k2_feeds.kafka.admin import topic_id
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_lake.bronze import Position, append_frames, position, resume
from k2_lake.catalog import Lake
from k2_lake.commit import retry_conflicts
from k2_lake.history import head_sequence
from k2_lake.results import StepResult
from k2_lake.tables import bronze_name, name_of
from k2_market.errors import TopicMissing
from k2_market.kinds import Kind

# One commit's frames: few and large on a real cluster. The embedded broker holds only megabytes,
# and whoever paces itself on bronze must see it move while there is still something to read;
# a commit costs what 10,000 frames cost, so much smaller ones would be spent on committing.
FRAMES_PER_COMMIT = 200_000
FRAMES_PER_COMMIT_EMBEDDED = 50_000

# A drain follows a busy topic until what is left is small beside what it took, or a minute is over:
# silver and gold wait for it.
LEFT_SHARE = 0.05
LONGEST_S = 60.0


@dataclass(frozen=True)
class Drained:
    """What a drain did: ``offsets`` is where reading goes on, ``lag`` what was left in Kafka."""

    result: StepResult
    epoch: int
    offsets: Mapping[int, int]
    lag: int


@dataclass
class _Progress:
    """Frames committed since the drain began, whatever races were lost on the way."""

    started: float = field(default_factory=time.monotonic)
    frames: int = 0


def drain(lake: Lake, kafka: KafkaSettings, exchange: str, kind: Kind) -> Drained:
    """Bring ``bronze.<exchange>_<kind>`` up to its topic.

    Raises OffsetHole and OffsetBeyondEnd with the numbers when the topic cannot continue the
    table, BrokerUnavailable when nothing answers.
    """
    name = bronze_name(exchange, kind)
    before = head_sequence(lake.table(name))
    progress = _Progress()
    with (
        TopicReader(kafka, raw_topic(kind, exchange)) as reader,
        ThreadPoolExecutor(1, "bronze-commit") as committer,
    ):
        table, at, lag = _follow(lake, kafka, name, reader, committer, progress)
    figures = {"frames": progress.frames, "lag": lag}
    result = StepResult.of(table, before=before, changed=progress.frames > 0, figures=figures)
    return Drained(result, at.epoch, at.offsets, lag)


@retry_conflicts
def _follow(
    lake: Lake,
    kafka: KafkaSettings,
    name: str,
    reader: TopicReader,
    committer: Executor,
    progress: _Progress,
) -> tuple[Table, Position, int]:
    """Batch after batch from what the table holds, so that a lost race is simply read on from.

    One Table object carries all commits, each fenced by the head that the one before it left.
    """
    table = lake.table(name)
    made_as = topic_id(kafka, reader.topic)
    if made_as is None:
        return table, _without_topic(table, kafka, reader.topic), 0
    cluster = reader.cluster_id()
    at = resume(table, reader.topic, cluster, made_as, new_cluster_is_expected=kafka.embedded)
    limit = FRAMES_PER_COMMIT_EMBEDDED if kafka.embedded else FRAMES_PER_COMMIT
    offsets, committing, rows = at.offsets, None, 0
    while True:
        ends = {p: high for p, (_, high) in reader.watermarks().items()}
        batch = reader.read(offsets, ends, limit)
        if committing is not None:
            at = committing.result()
            progress.frames += rows
        if batch is None:
            return table, at, 0
        committing = committer.submit(append_frames, table, at, batch.table, batch.next_offsets)
        offsets, rows = batch.next_offsets, batch.table.num_rows
        lag = sum(end - offsets.get(p, 0) for p, end in ends.items())
        if lag <= (progress.frames + rows) * LEFT_SHARE or _too_long(progress):
            at = committing.result()
            progress.frames += rows
            return table, at, lag


def _without_topic(table: Table, kafka: KafkaSettings, topic: str) -> Position:
    """Nothing was recorded of this exchange yet. Raises TopicMissing if bronze has frames of it."""
    at = position(table)
    if at is not None:
        raise TopicMissing(
            f"{name_of(table)} holds {topic} up to offsets {dict(at.offsets)}, but Kafka at "
            f"{kafka.bootstrap} has no such topic. Was it deleted? Check K2_KAFKA_BOOTSTRAP; to "
            "make it anew: `k2 topics create`, then `k2 bronze new-epoch EXCHANGE --kind KIND`."
        )
    return Position(1, "")


def _too_long(progress: _Progress) -> bool:
    return time.monotonic() - progress.started > LONGEST_S
