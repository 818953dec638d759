"""From Kafka into a bronze table: read by offset, commit with the offsets, until little is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from k2_feeds.kafka import KafkaSettings
from k2_feeds.reader import TopicReader
from k2_feeds.topics import raw_topic
from k2_lake.bronze import append_frames, resume
from k2_lake.catalog import Lake
from k2_lake.commit import retry_conflicts
from k2_lake.history import head_sequence
from k2_lake.results import StepResult
from k2_lake.tables import bronze_name

# One commit's frames: few and large on a real cluster. The embedded broker holds only megabytes,
# and whoever paces itself on bronze must see it move while there is still something to read.
FRAMES_PER_COMMIT = 200_000
FRAMES_PER_COMMIT_EMBEDDED = 10_000

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


def drain(lake: Lake, kafka: KafkaSettings, exchange: str) -> Drained:
    """Bring ``bronze.<exchange>_trades`` up to its topic.

    Raises OffsetHole and OffsetBeyondEnd with the numbers when the topic cannot continue the
    table, BrokerUnavailable when nothing answers.
    """
    topic = raw_topic("trades", exchange)
    before = head_sequence(lake.table(bronze_name(exchange)))
    started, frames = time.monotonic(), 0
    with TopicReader(kafka, topic) as reader:
        while True:
            added, drained = _advance(lake, kafka, exchange, reader, frames, before)
            frames += added
            if drained.lag <= frames * LEFT_SHARE or time.monotonic() - started > LONGEST_S:
                return drained


@retry_conflicts
def _advance(
    lake: Lake,
    kafka: KafkaSettings,
    exchange: str,
    reader: TopicReader,
    frames: int,
    before: int,
) -> tuple[int, Drained]:
    """One batch: what the table holds is read again, so a lost race is simply read on from."""
    table = lake.table(bronze_name(exchange))
    at = resume(table, reader.topic, reader.cluster_id(), new_cluster_is_expected=kafka.embedded)
    ends = {p: high for p, (_, high) in reader.watermarks().items()}
    limit = FRAMES_PER_COMMIT_EMBEDDED if kafka.embedded else FRAMES_PER_COMMIT
    batch = reader.read(at.offsets, ends, limit)
    added = 0
    if batch is not None:
        at = append_frames(table, at, batch.table, batch.next_offsets)
        added = batch.table.num_rows
    lag = sum(end - at.offsets.get(p, 0) for p, end in ends.items())
    figures = {"frames": frames + added, "lag": lag}
    result = StepResult.of(table, before=before, changed=frames + added > 0, figures=figures)
    return added, Drained(result, at.epoch, at.offsets, lag)
