"""Raw topics back out by offset, into Arrow: each frame once, or an error with the numbers.

The caller says from which offset to which; nothing is committed to Kafka and no offset is ever
reset.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from k2_feeds.columns import frame_columns
from k2_feeds.kafka import KafkaSettings, log_error
from k2_market.errors import BrokerUnavailable, LogError, OffsetBeyondEnd, OffsetHole

_CHUNK = 10_000  # messages at a time: measured faster than 50,000, whose objects leave the cache
_ANSWER_S = 15.0
_REMEDY = "`k2 bronze new-epoch EXCHANGE` begins again at what the topic still holds."


@dataclass(frozen=True)
class FrameBatch:
    """Frames, and where the next ones begin.

    ``table`` has the columns of RAW_FRAME without ``epoch``; the frames of a partition are in the
    order of their offsets. ``next_offsets`` is ``start`` of the read, moved on by what was read.
    """

    table: pa.Table
    next_offsets: dict[int, int]


class TopicReader:
    """Reads one topic by offset; a context manager. Not for several threads."""

    def __init__(
        self, settings: KafkaSettings, topic: str, *, answer_within_s: float = _ANSWER_S
    ) -> None:
        self.topic = topic
        self._bootstrap, self._answer_s = settings.bootstrap, answer_within_s
        # The partitions assigned and the offset that each must deliver next.
        self._positions: dict[int, int] = {}
        self._consumer = Consumer(
            settings.client(
                group_id="k2-reader",  # librdkafka asks for one; it is never joined
                enable_auto_commit=False,
                enable_auto_offset_store=False,
                isolation_level="read_committed",
                auto_offset_reset="error",
                queued_min_messages=200_000,
                queued_max_messages_kbytes=131_072,
                max_partition_fetch_bytes=8_388_608,
                fetch_wait_max_ms=20,
            )
        )

    def cluster_id(self) -> str:
        """The id of the cluster. Raises BrokerUnavailable."""
        try:
            found = self._consumer.list_topics(self.topic, timeout=self._answer_s).cluster_id
        except KafkaException as error:
            raise self._error("reading the cluster id", error.args[0]) from error
        return str(found)

    def watermarks(self) -> dict[int, tuple[int, int]]:
        """First offset kept and next one to be written, by partition; {} where there is no topic.

        Raises BrokerUnavailable.
        """
        try:
            found = self._consumer.list_topics(self.topic, timeout=self._answer_s)
        except KafkaException as error:
            raise self._error("reading the partitions", error.args[0]) from error
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
        from ``end`` is not read. Fastest when ``start`` is where the last read ended. Raises
        OffsetHole, OffsetBeyondEnd, BrokerUnavailable (no answer in time), MalformedHeader.
        """
        for partition, offset in start.items():
            if offset > end.get(partition, offset):
                self._check_start(partition, offset)
        wanted = {p: start.get(p, 0) for p in end if start.get(p, 0) < end[p]}
        if not wanted or limit < 1:
            return None
        try:
            self._move_to(wanted)
            with _collector_paused():
                table, reached = self._collect(wanted, end, limit)
        except LogError:
            self._forget()
            raise
        return FrameBatch(table, {**start, **reached})

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def __enter__(self) -> TopicReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _collect(
        self, wanted: Mapping[int, int], end: Mapping[int, int], limit: int
    ) -> tuple[pa.Table, dict[int, int]]:
        chunks: list[pa.Table] = []
        reached = dict(wanted)
        left = limit
        while left and (missing := sum(end[p] - offset for p, offset in reached.items())):
            # Never more than there is: consume waits until it has all it was asked for.
            messages = self._consume(min(left, missing, _CHUNK))
            chunk = self._advance(frame_columns(self.topic, messages), reached, end)
            chunks.append(chunk)
            left -= chunk.num_rows
        return pa.concat_tables(chunks), reached

    def _consume(self, count: int) -> list[Message]:
        messages = self._consumer.consume(count, self._answer_s)
        if not messages:
            raise BrokerUnavailable(
                f"no frame of {self.topic} came from Kafka at {self._bootstrap} within "
                f"{self._answer_s:.0f} s, expected next: {self._positions}. Is it running?"
            )
        for error in map(Message.error, messages):
            if error is not None:
                self._explain(error)
        return messages

    def _advance(
        self, chunk: pa.Table, reached: dict[int, int], end: Mapping[int, int]
    ) -> pa.Table:
        """Check that offsets follow on each other; the rows below ``end``, counted in ``reached``.

        A partition that delivered more than was wanted is let go: it would go on doing so.
        """
        partitions, offsets = chunk["kafka_partition"], chunk["kafka_offset"]
        beyond = None
        found: list[Any] = partitions.unique().to_pylist()
        for partition in found:
            of_partition = pc.equal(partitions, pa.scalar(partition, pa.int32()))
            self._check_run(partition, offsets.filter(of_partition))
            limit = end[partition] if partition in reached else 0
            if self._positions[partition] > limit:
                excess = pc.greater_equal(offsets, pa.scalar(limit, pa.int64()))
                excess = pc.and_(of_partition, excess)
                beyond = excess if beyond is None else pc.or_(beyond, excess)
                self._let_go(partition)
            if partition in reached:
                reached[partition] = min(self._positions.get(partition, limit), limit)
        return chunk if beyond is None else chunk.filter(pc.invert(beyond))

    def _check_run(self, partition: int, offsets: pa.ChunkedArray[Any]) -> None:
        expected = self._positions[partition]
        following = range(expected, expected + len(offsets))
        found: list[Any] = offsets.to_pylist()
        if found != list(following):
            wanted, other = next((w, f) for w, f in zip(following, found, strict=True) if w != f)
            raise self._hole(partition, wanted, other)
        self._positions[partition] = following.stop

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
        doing = f"reading the ends of partition {partition}"
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self.topic, partition), timeout=self._answer_s
            )
        except KafkaException as error:
            raise self._error(doing, error.args[0]) from error
        return low, high

    def _check_start(self, partition: int, offset: int) -> None:
        low, high = self._watermarks(partition)
        if low > offset:
            raise self._hole(partition, offset, low)
        if offset > high:
            raise OffsetBeyondEnd(
                f"offset {offset} of {self.topic}[{partition}] was asked for, but the topic ends "
                f"at {high}. Was the topic or the cluster recreated? {_REMEDY}"
            )

    def _hole(self, partition: int, expected: int, found: int) -> OffsetHole:
        return OffsetHole(
            f"{self.topic}[{partition}]: expected offset {expected}, found {found}: "
            f"{found - expected} frames are no longer in Kafka. {_REMEDY}"
        )

    def _explain(self, cause: KafkaError) -> None:
        """Raise for an error that came in place of a message."""
        for partition, offset in self._positions.items():
            self._check_start(partition, offset)
        raise self._error("reading", cause)

    def _error(self, doing: str, cause: KafkaError) -> LogError:
        return log_error(f"{doing} of {self.topic}", self._bootstrap, cause)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without the cyclic garbage collector inside.

    Messages make no cycles, but so many at once make the collector walk through all that lives in
    the process, again and again: reading took four times as long in one that has Dagster loaded.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
