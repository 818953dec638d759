"""A look at topics from outside: where they begin and end, and when a message came. Reads only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from k2_feeds.kafka.cluster import KafkaSettings, Trouble, log_error, new_client
from k2_market.closing import Closing
from k2_market.errors import BrokerUnavailable, LogError

_ANSWER_S = 10.0
Place = tuple[str, int]


@dataclass(frozen=True)
class Ends:
    """What a cluster has of topics: by partition, the first offset kept and the next to be written.

    Topics that do not exist are left out.
    """

    cluster_id: str
    topics: Mapping[str, Mapping[int, tuple[int, int]]]


@dataclass(frozen=True)
class Held:
    """Up to where a table has a topic of a cluster: the next offset, by partition."""

    cluster_id: str
    offsets: Mapping[int, int]


class TopicsLook(Closing):
    """One client for all topics; a context manager. Calls raise BrokerUnavailable or LogError."""

    def __init__(self, settings: KafkaSettings, *, answer_within_s: float = _ANSWER_S) -> None:
        self._bootstrap, self._answer_s = settings.bootstrap, answer_within_s
        self._trouble = Trouble()
        config = settings.client(
            group_id="k2-look",  # librdkafka asks for one; it is never joined
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            queued_max_messages_kbytes=1024,
            fetch_wait_max_ms=20,
        )
        self._consumer = new_client(Consumer, {**config, "error_cb": self._trouble.note})

    def ends(self, topics: Iterable[str]) -> Ends:
        """Where those of the topics that exist begin and end."""
        deadline = time.monotonic() + self._answer_s
        try:
            found = self._consumer.list_topics(timeout=self._answer_s)
            return Ends(
                str(found.cluster_id),
                {
                    name: {
                        p: self._consumer.get_watermark_offsets(
                            TopicPartition(name, p), timeout=max(deadline - time.monotonic(), 0.1)
                        )
                        for p in sorted(found.topics[name].partitions)
                    }
                    for name in topics
                    if name in found.topics and found.topics[name].error is None
                },
            )
        except KafkaException as error:
            raise self._error("looking at the topics", error.args[0]) from error

    def written_at(self, places: Mapping[Place, int]) -> dict[Place, datetime]:
        """When the message at each place came, by Kafka's own time; none for one that is gone."""
        found: dict[Place, datetime] = {}
        if not places:
            return found
        self._consumer.assign([TopicPartition(t, p, offset) for (t, p), offset in places.items()])
        deadline = time.monotonic() + self._answer_s
        while found.keys() != places.keys() and time.monotonic() < deadline:
            for message in self._consumer.consume(100, 0.2):
                if message.error() is not None:
                    self._require_passing(message.error())
                    continue
                place = (str(message.topic()), int(message.partition() or 0))
                if place not in found:
                    at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
                    found[place] = at
                    self._consumer.incremental_unassign([TopicPartition(*place)])
        self._consumer.unassign()
        if not found:
            raise BrokerUnavailable(
                f"looking at frames that wait: none came from Kafka at {self._bootstrap} within "
                f"{self._answer_s:.0f} s. Is it running?"
            )
        return found

    def waiting_since(self, held: Mapping[str, Held]) -> dict[str, datetime]:
        """By topic, when the oldest frame came that lies beyond what is held of it.

        Topics of which nothing waits are left out. What is held of another cluster is nothing.
        """
        ends = self.ends(held)
        places = {
            (topic, p): max(low, have.get(p, 0))
            for topic, partitions in ends.topics.items()
            for have in [held[topic].offsets if held[topic].cluster_id == ends.cluster_id else {}]
            for p, (low, high) in partitions.items()
            if have.get(p, 0) < high
        }
        since: dict[str, datetime] = {}
        for (topic, _), at in self.written_at(places).items():
            since[topic] = min(at, since.get(topic, at))
        return since

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def _require_passing(self, cause: KafkaError | None) -> None:
        if cause is not None and cause.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise self._error("reading a topic", cause)

    def _error(self, doing: str, cause: KafkaError) -> LogError:
        self._consumer.poll(0)
        return log_error(doing, self._bootstrap, cause, self._trouble)
