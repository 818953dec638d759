"""Several raw topics followed as they grow, by offset, in batches: for whoever keeps up with them.

Unlike ``TopicReader``, which reads what there is up to a given end and waits for it, a follower
takes what has come and says how far that reaches: by the broker's own answers, so that a topic in
which nothing happens and a broker that hangs are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from k2_feeds.kafka.admin import TopicsAdmin
from k2_feeds.kafka.cluster import KafkaSettings, Trouble, log_error, new_client
from k2_feeds.kafka.columns import FRAME_SCHEMA, collector_paused, frame_columns
from k2_feeds.kafka.holes import beyond_end, hole
from k2_market.closing import Closing
from k2_market.errors import LogError, OffsetHole

_ANSWER_S = 2.0
_STATISTICS_MS = 500
_CHUNK = 10_000

Place = tuple[str, int]


class _Broker(msgspec.Struct):
    """What librdkafka's statistics say of a broker: ``rxidle`` is in microseconds."""

    rxidle: int
    toppars: dict[str, msgspec.Raw]


class _Statistics(msgspec.Struct):
    """``time`` is in whole seconds since 1970."""

    time: int
    brokers: dict[str, _Broker]


_DECODER = msgspec.json.Decoder(_Statistics)


@dataclass(frozen=True)
class Cluster:
    """The cluster's id, and by topic its id ("" where the cluster gives none) and partitions.

    Topics that do not exist are left out.
    """

    cluster_id: str
    topics: Mapping[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Batch:
    """Frames of one topic, with the columns of RAW_FRAME but ``epoch``.

    Those of a partition are in the order of offsets, which follow on each other. With ``trouble``
    the topic could not be followed any further and was let go.
    """

    topic: str
    frames: pa.Table
    trouble: LogError | None = None


class TopicsFollower(Closing):
    """Follows topics; a context manager, not for several threads. Calls raise LogError."""

    def __init__(self, settings: KafkaSettings, *, answer_within_s: float = _ANSWER_S) -> None:
        self._settings, self._answer_s = settings, answer_within_s
        self._trouble = Trouble()
        # By topic and partition, the offset that is due.
        self._due: dict[Place, int] = {}
        # When the last frame given of a partition came to Kafka, and where there are no more.
        self._last: dict[Place, datetime] = {}
        self._ended: set[Place] = set()
        self._answered_at: datetime | None = None
        config = settings.client(
            group_id="k2-follower",  # librdkafka asks for one; it is never joined
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            enable_partition_eof=True,
            isolation_level="read_committed",
            auto_offset_reset="error",
            queued_max_messages_kbytes=32_768,
            fetch_wait_max_ms=100,
            statistics_interval_ms=_STATISTICS_MS,
        )
        self._consumer = new_client(
            Consumer, {**config, "error_cb": self._trouble.note, "stats_cb": self._note}
        )

    def reached(self, topic: str) -> datetime | None:
        """Up to when all that came to the topic has been given; None where that is not known yet.

        It stands still while a broker that leads one of its partitions does not answer.
        """
        answered = self._answered_at
        times = [answered if p in self._ended else self._last.get(p) for p in self._places(topic)]
        known = [at for at in times if at is not None]
        return min(known) if known and len(known) == len(times) else None

    def at_end(self, topic: str) -> bool:
        """Whether all that there was in the topic has been given."""
        return all(place in self._ended for place in self._places(topic))

    def cluster(self, topics: Iterable[str]) -> Cluster:
        """Which cluster it is, and which of the topics it has."""
        try:
            found = self._consumer.list_topics(timeout=self._answer_s)
        except KafkaException as error:
            raise self._error("looking at the topics", error.args[0]) from error
        partitions = {
            name: tuple(sorted(found.topics[name].partitions))
            for name in topics
            if name in found.topics and found.topics[name].error is None
        }
        ids = self._topic_ids(partitions)
        return Cluster(
            str(found.cluster_id), {n: (ids[n], p) for n, p in partitions.items() if n in ids}
        )

    def follow(self, topic: str, partitions: Iterable[int], start: Mapping[int, int]) -> int:
        """Follow the topic from these offsets on, 0 where none is given; how many frames wait.

        Raises OffsetHole where Kafka no longer has them, OffsetBeyondEnd where it never had.
        """
        waiting = 0
        places = {(topic, p): start.get(p, 0) for p in partitions}
        for (_, partition), offset in places.items():
            low, high = self._ends(topic, partition)
            if offset < low:
                raise hole(topic, partition, offset, low, low)
            if offset > high:
                raise beyond_end(topic, partition, offset, high)
            waiting += high - offset
        self._due |= places
        self._consumer.incremental_assign([TopicPartition(t, p, o) for (t, p), o in places.items()])
        return waiting

    def let_go(self, topic: str) -> None:
        """Follow that topic no longer."""
        places = self._places(topic)
        self._consumer.incremental_unassign([TopicPartition(t, p) for t, p in places])
        for place in places:
            del self._due[place]
            self._last.pop(place, None)
            self._ended.discard(place)

    def take(self, timeout_s: float) -> list[Batch]:
        """What has come, after at most that long.

        A topic whose offsets do not follow on each other, or with a message that is no frame, is
        let go. Raises for what concerns all of them.
        """
        messages: dict[str, list[Message]] = {}
        troubles: dict[str, LogError] = {}
        with collector_paused():
            for message in self._consumer.consume(_CHUNK, timeout_s):
                topic = str(message.topic())
                try:
                    if topic not in troubles and self._is_next(topic, message):
                        messages.setdefault(topic, []).append(message)
                except OffsetHole as error:
                    troubles[topic] = error
            batches = [self._batch(t, found, troubles.get(t)) for t, found in messages.items()]
        alone = [
            Batch(t, FRAME_SCHEMA.empty_table(), e)
            for t, e in troubles.items()
            if t not in messages
        ]
        for batch in (*batches, *alone):
            if batch.trouble is not None:
                self.let_go(batch.topic)
        return [*batches, *alone]

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def _places(self, topic: str) -> list[Place]:
        return [place for place in self._due if place[0] == topic]

    def _is_next(self, topic: str, message: Message) -> bool:
        """Whether it is a frame to be given. Raises OffsetHole for one behind a gap."""
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise self._error(f"following {topic}", error)
        place, offset = (topic, int(message.partition() or 0)), int(message.offset() or 0)
        if place not in self._due:
            return False
        if offset != self._due[place]:
            raise hole(*place, self._due[place], offset, self._ends(*place)[0])
        if error is not None:
            self._ended.add(place)
            return False
        self._due[place] = offset + 1
        self._ended.discard(place)
        return True

    def _batch(self, topic: str, messages: list[Message], trouble: LogError | None) -> Batch:
        try:
            frames = frame_columns(topic, messages)
        except LogError as error:
            return Batch(topic, FRAME_SCHEMA.empty_table(), error)
        for message in {m.partition(): m for m in messages}.values():
            at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            self._last[topic, int(message.partition() or 0)] = at
        return Batch(topic, frames, trouble)

    def _topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        if self._settings.embedded:
            return dict.fromkeys(topics, "")
        admin = TopicsAdmin(self._settings, answer_within_s=self._answer_s)
        return {name: str(topic.topic_id) for name, topic in admin.described(topics).items()}

    def _ends(self, topic: str, partition: int) -> tuple[int, int]:
        place = TopicPartition(topic, partition)
        try:
            found: tuple[int, int] = self._consumer.get_watermark_offsets(
                place, timeout=self._answer_s
            )
        except KafkaException as error:
            raise self._error(f"reading the ends of {topic}", error.args[0]) from error
        return found

    def _note(self, statistics: str) -> None:
        """Take from the statistics when the brokers answered last; called while polling.

        A fetch is answered at the latest after ``fetch.wait.max.ms``, whether or not there is
        something, so a broker that leads partitions and is silent for longer does not answer.
        """
        told = _DECODER.decode(statistics)
        leaders = [b for b in told.brokers.values() if b.toppars]
        if sum(len(b.toppars) for b in leaders) < len(self._due):
            return
        idle_us = max((b.rxidle for b in leaders), default=-1)
        if idle_us >= 0:
            at = datetime.fromtimestamp(told.time, UTC) - timedelta(microseconds=idle_us)
            self._answered_at = max(at, self._answered_at or at)

    def _error(self, doing: str, cause: KafkaError) -> LogError:
        return log_error(doing, self._settings.bootstrap, cause, self._trouble)
