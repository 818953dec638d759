"""What bronze holds of a topic, for a producer that must not run further ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from k2_feeds.kafka.backlog import Backlog
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_lake.bronze import position
from k2_lake.catalog import Lake
from k2_lake.tables import bronze_name
from k2_market.kinds import Kind


def backlog(lake: Lake, kafka: KafkaSettings, exchange: str, kind: Kind) -> Backlog | None:
    """The pace of a producer where Kafka forgets, on the embedded broker; else None."""
    return Backlog(committed_offsets(lake, kafka, exchange, kind)) if kafka.embedded else None


def committed_offsets(
    lake: Lake, kafka: KafkaSettings, exchange: str, kind: Kind
) -> Callable[[], Mapping[int, int]]:
    """A function that gives the next offsets bronze holds of this cluster's topic, by partition.

    Offsets of an earlier cluster count as none: the embedded broker is new at every start.
    """
    with TopicReader(kafka, raw_topic(kind, exchange)) as reader:
        cluster_id = reader.cluster_id()

    def committed() -> Mapping[int, int]:
        at = position(lake.table(bronze_name(exchange, kind)))
        return {} if at is None or at.cluster_id != cluster_id else at.offsets

    return committed
