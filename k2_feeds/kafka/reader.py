"""Raw topics back out by offset, into Arrow: each frame once, or an error with the numbers.

The caller says from which offset to which; nothing is committed to Kafka and no offset is ever
reset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]

from k2_feeds.kafka.cluster import PASSING, KafkaSettings, Trouble, log_error, new_client
from k2_feeds.kafka.columns import collector_paused, frame_columns
from k2_feeds.kafka.holes import beyond_end, hole
from k2_market.closing import Closing
from k2_market.errors import BrokerUnavailable, LogError

_CHUNK = 10_000  # messages at a time: measured faster than 50,000, whose objects leave the cache
_ANSWER_S = 15.0
_LONGEST_WAIT_S = 1.0
_PAUSE_S = 0.1


Answer = TypeVar("Answer")


@dataclass(frozen=True)
class FrameBatch:
    """Frames, and where the next ones begin.

    ``table`` has the columns of RAW_FRAME without ``epoch``; the frames of a partition are in the
    order of their offsets. ``next_offsets`` is ``start`` of the read, moved on by what was read.
    """

    table: pa.Table
    next_offsets: dict[int, int]


class TopicReader(Closing):
    """Reads one topic by offset; a context manager. Not for several threads."""

    def __init__(
        self, settings: KafkaSettings, topic: str, *, answer_within_s: float = _ANSWER_S
    ) -> None:
        self.topic = topic
        self._bootstrap, self._answer_s = settings.bootstrap, answer_within_s
        # The partitions assigned and the offset that each must deliver next.
        self._positions: dict[int, int] = {}
        # Where offsets of the read under way do not follow on: (partition, expected, found).
        self._gaps: list[tuple[int, int, int]] = []
        self._trouble = Trouble()
        config = settings.client(
            group_id="k2-reader",  # librdkafka asks for one; it is never joined
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            enable_partition_eof=True,
            isolation_level="read_committed",
            auto_offset_reset="error",
            queued_min_messages=200_000,
            queued_max_messages_kbytes=131_072,
            max_partition_fetch_bytes=8_388_608,
            fetch_wait_max_ms=20,
        )
        self._consumer = new_client(Consumer, {**config, "error_cb": self._trouble.note})

    def cluster_id(self) -> str:
        """The id of the cluster. Raises BrokerUnavailable."""
        found = self._ask("reading the cluster id", self._metadata).cluster_id
        return str(found)

    def watermarks(self) -> dict[int, tuple[int, int]]:
        """First offset kept and next one to be written, by partition; {} where there is no topic.

        Raises BrokerUnavailable.
        """
        found = self._ask("reading the partitions", self._metadata)
        topic = found.topics[self.topic]
        if topic.error is not None:
            if topic.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return {}
            raise self._error("reading the partitions", topic.error)
        return {partition: self._watermarks(partition) for partition in sorted(topic.partitions)}

    def read(
        self, start: Mapping[int, int], end: Mapping[int, int], limit: int
    ) -> FrameBatch | None:
        """At most ``limit`` frames from ``start`` (inclusive) to ``end`` (exclusive), None if none.

        Both map partitions to offsets. A partition absent from ``start`` begins at 0; one absent
        from ``end`` is not read. Fastest when ``start`` is where the last read ended. Frames before
        a hole are returned; the next read raises OffsetHole. Raises OffsetBeyondEnd,
        BrokerUnavailable (no answer in time), MalformedHeader.
        """
        for partition, offset in start.items():
            if offset > end.get(partition, offset):
                self._check_start(partition, offset)
        wanted = {p: start.get(p, 0) for p in end if start.get(p, 0) < end[p]}
        if not wanted or limit < 1:
            return None
        try:
            self._move_to(wanted)
            with collector_paused():
                table, reached = self._collect(wanted, end, limit)
        except LogError:
            self._forget()
            raise
        return FrameBatch(table, {**start, **reached})

    def next_frames(self, start: Mapping[int, int]) -> dict[int, int]:
        """Where the first frame at or after each of these offsets is, or the partition's end.

        Raises BrokerUnavailable, OffsetHole where an offset is no longer kept, OffsetBeyondEnd.
        """
        self._forget()
        found = {p: self._watermarks(p)[1] for p in start}
        for partition in [p for p, offset in start.items() if offset < found[p]]:
            self._move_to({partition: start[partition]})
            messages, _ = self._consume(1)
            found.update((partition, m.offset() or 0) for m in messages)
            self._forget()
        return found

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def _collect(
        self, wanted: Mapping[int, int], end: Mapping[int, int], limit: int
    ) -> tuple[pa.Table, dict[int, int]]:
        chunks: list[pa.Table] = []
        reached = dict(wanted)
        left = limit
        self._gaps.clear()
        while (
            left
            and not self._gaps
            and (missing := sum(end[p] - offset for p, offset in reached.items()))
        ):
            # Never more than there is: consume waits until it has all it was asked for.
            messages, ended = self._consume(min(left, missing, _CHUNK))
            chunk = self._advance(frame_columns(self.topic, messages), reached, end)
            chunks.append(chunk)
            left -= chunk.num_rows
            self._check_tails(ended, reached, end)
        if self._gaps and left == limit:
            partition, expected, found = self._gaps[0]
            low, _ = self._watermarks(partition)
            raise hole(self.topic, partition, expected, found, low)
        return pa.concat_tables(chunks), reached

    def _consume(self, count: int) -> tuple[list[Message], dict[int, int]]:
        """Messages, and by partition the offset up to which Kafka has delivered all there was."""
        messages: list[Message] = []
        deadline = time.monotonic() + self._answer_s
        while not messages and time.monotonic() < deadline:
            # It waits for all of them, and they are fewer where offsets are missing.
            messages = self._consumer.consume(count, min(_LONGEST_WAIT_S, self._answer_s))
        if not messages:
            raise BrokerUnavailable(
                f"no frame of {self.topic} came from Kafka at {self._bootstrap} within "
                f"{self._answer_s:.0f} s, expected next: {self._positions}. Is it running?"
            )
        if not any(map(Message.error, messages)):
            return messages, {}
        ended: dict[int, int] = {}
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._explain(error)
            if error is not None:
                ended[message.partition()] = message.offset()  # type: ignore[index, assignment]
        return [m for m in messages if m.error() is None], ended

    def _check_tails(
        self, ended: Mapping[int, int], reached: Mapping[int, int], end: Mapping[int, int]
    ) -> None:
        """A partition that has delivered all up to its end, and yet not what was to come before."""
        for partition, offset in ended.items():
            if partition in reached and reached[partition] < end[partition] <= offset:
                self._gaps.append((partition, reached[partition], offset))

    def _advance(
        self, chunk: pa.Table, reached: dict[int, int], end: Mapping[int, int]
    ) -> pa.Table:
        """Check that offsets follow on each other; the rows below ``end``, counted in ``reached``.

        A partition that delivered more than was wanted is let go: it would go on doing so. So is
        one that skipped offsets, and what it delivered after them is not used.
        """
        partitions, offsets = chunk["kafka_partition"], chunk["kafka_offset"]
        beyond = None
        found: list[Any] = partitions.unique().to_pylist()
        for partition in found:
            of_partition = pc.equal(partitions, pa.scalar(partition, pa.int32()))
            last = self._check_run(partition, offsets.filter(of_partition))
            limit = min(end[partition] if partition in reached else 0, self._positions[partition])
            if partition in reached:
                reached[partition] = limit
            if last >= limit:
                excess = pc.greater_equal(offsets, pa.scalar(limit, pa.int64()))
                excess = pc.and_(of_partition, excess)
                beyond = excess if beyond is None else pc.or_(beyond, excess)
                self._let_go(partition)
        return chunk if beyond is None else chunk.filter(pc.invert(beyond))

    def _check_run(self, partition: int, offsets: pa.ChunkedArray[Any]) -> int:
        """Move on as far as offsets follow on each other; the last offset that came."""
        expected = self._positions[partition]
        following = range(expected, expected + len(offsets))
        found: list[Any] = offsets.to_pylist()
        self._positions[partition] = following.stop
        if found != list(following):
            wanted, other = next((w, f) for w, f in zip(following, found, strict=True) if w != f)
            self._gaps.append((partition, wanted, other))
            self._positions[partition] = wanted
        return int(found[-1])

    def _move_to(self, wanted: Mapping[int, int]) -> None:
        """Assign what is wanted; a partition that already stands there keeps its prefetched frames.

        Partitions that are not wanted now stay, as they are mostly wanted again at the next read.
        """
        arriving = {p: o for p, o in wanted.items() if self._positions.get(p) != o}
        for partition, offset in arriving.items():
            self._check_start(partition, offset)
            if partition in self._positions:
                self._let_go(partition)
        if arriving:
            places = [TopicPartition(self.topic, p, o) for p, o in arriving.items()]
            self._consumer.incremental_assign(places)
            self._positions.update(arriving)

    def _let_go(self, partition: int) -> None:
        self._consumer.incremental_unassign([TopicPartition(self.topic, partition)])
        del self._positions[partition]

    def _forget(self) -> None:
        self._consumer.unassign()
        self._positions.clear()

    def _watermarks(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self.topic, partition)

        def ends(timeout_s: float) -> tuple[int, int]:
            found: tuple[int, int] = self._consumer.get_watermark_offsets(place, timeout=timeout_s)
            return found

        return self._ask(f"reading the ends of partition {partition}", ends)

    def _metadata(self, timeout_s: float) -> ClusterMetadata:
        found: ClusterMetadata = self._consumer.list_topics(self.topic, timeout=timeout_s)
        return found

    def _ask(self, doing: str, call: Callable[[float], Answer]) -> Answer:
        """What Kafka answers to ``call`` of a timeout, asked again over what passes."""
        deadline = time.monotonic() + self._answer_s
        while True:
            try:
                return call(max(deadline - time.monotonic(), _PAUSE_S))
            except KafkaException as error:
                if error.args[0].code() not in PASSING or time.monotonic() > deadline:
                    raise self._error(doing, error.args[0]) from error
            time.sleep(_PAUSE_S)

    def _check_start(self, partition: int, offset: int) -> None:
        low, high = self._watermarks(partition)
        if low > offset:
            raise hole(self.topic, partition, offset, low, low)
        if offset > high:
            raise beyond_end(self.topic, partition, offset, high)

    def _explain(self, cause: KafkaError) -> None:
        """Raise for an error that came in place of a message."""
        for partition, offset in self._positions.items():
            self._check_start(partition, offset)
        raise self._error("reading", cause)

    def _error(self, doing: str, cause: KafkaError) -> LogError:
        # Polled for what the connections met; a message that comes instead is read anew.
        self._forget()
        self._consumer.poll(0)
        return log_error(f"{doing} of {self.topic}", self._bootstrap, cause, self._trouble)
