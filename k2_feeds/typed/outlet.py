"""Messages made of a raw topic, into a typed one, with the place reached in the raw topic.

On a Kafka cluster both go into one transaction: each raw frame counts exactly once, whatever is
killed at whatever time, for consumers that read what is committed. The embedded broker takes
transactions but neither keeps their offsets nor hides what was aborted (measured, librdkafka
2.16), so there the place is recorded after the messages, and a publisher that is killed in between
repeats them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Thread
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from k2_feeds.kafka.cluster import KafkaSettings, Trouble, log_error, new_client
from k2_market.errors import BrokerUnavailable, LogError, TopicMissing

GROUP = "k2-publish"
_ANSWER_S = 20.0
_PAUSE_S = 0.05

# That a client was fenced is told as an error; librdkafka would write it to standard error as well.
_SILENT = logging.getLogger("k2.librdkafka")
_SILENT.disabled = True

Messages = Iterable[tuple[str | None, bytes]]


class Places:
    """Where publishing stands in raw topics: the committed offsets of Kafka's group k2-publish."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._bootstrap = settings.bootstrap
        self._trouble = Trouble()
        config = settings.client(group_id=GROUP, enable_auto_commit=False)
        self.consumer = new_client(Consumer, {**config, "error_cb": self._trouble.note})

    def committed(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """The next offset to publish, for those partitions that have one. Raises LogError."""
        asked = [TopicPartition(topic, partition) for partition in partitions]
        try:
            found = self.consumer.committed(asked, timeout=_ANSWER_S)
        except KafkaException as error:
            self.consumer.poll(0)
            doing = f"reading how far {topic} was published"
            raise log_error(doing, self._bootstrap, error.args[0], self._trouble) from error
        return {place.partition: place.offset for place in found if place.offset >= 0}

    def close(self) -> None:
        """Leave Kafka."""
        self.consumer.close()


class Outlet(Protocol):
    """Takes messages for one typed topic, made of one raw topic."""

    def write(self, messages: Messages, places: Mapping[int, int]) -> None:
        """Deliver (key, value) messages and record the places reached in the raw topic.

        Raises BrokerUnavailable, TopicMissing, LogError.
        """


def outlet(settings: KafkaSettings, places: Places, raw: str, typed: str) -> Outlet:
    """The outlet that gives the most that this Kafka can. Raises as ``Outlet.write`` does."""
    kind = _AtLeastOnce if settings.embedded else _ExactlyOnce
    return kind(settings, places, raw, typed)


class _Outlet:
    def __init__(self, settings: KafkaSettings, places: Places, raw: str, typed: str) -> None:
        self._places, self._raw, self._typed = places, raw, typed
        self._bootstrap = settings.bootstrap
        self._trouble = Trouble()
        self._failure: KafkaError | None = None
        config = settings.client(
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            partitioner="consistent",
            linger_ms=20,
            topic_metadata_propagation_max_ms=5_000,
            **self._properties(),
        )
        told = {"error_cb": self._trouble.note, "logger": _SILENT}
        self._producer = new_client(Producer, {**config, **told})

    def _properties(self) -> dict[str, str | int | bool]:
        return {}

    def _produce(self, messages: Messages) -> None:
        for key, value in messages:
            while not self._offer(key, value):
                self._producer.poll(_PAUSE_S)
        self._producer.poll(0)

    def _offer(self, key: str | None, value: bytes) -> bool:
        try:
            self._producer.produce(self._typed, value, key, on_delivery=self._delivered)
        except BufferError:
            return False
        return True

    def _delivered(self, error: KafkaError | None, message: object) -> None:  # noqa: ARG002
        self._failure = self._failure or error

    def _reached(self, places: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._raw, p, offset) for p, offset in places.items()]

    def _met(self, cause: KafkaError) -> KafkaError:
        """What ended the client for good, else ``cause``: polled, it raises the former."""
        try:
            self._producer.poll(0)
        except KafkaException as error:
            return error.args[0]  # type: ignore[no-any-return]
        return cause

    def _error(self, cause: KafkaError) -> LogError:
        found = log_error(
            f"publishing to {self._typed}", self._bootstrap, self._failure or cause, self._trouble
        )
        if isinstance(found, TopicMissing):
            return TopicMissing(
                f"publishing to {self._typed}: Kafka at {self._bootstrap} has no such topic. "
                "Make it with `k2 topics create --typed`."
            )
        return found


class _ExactlyOnce(_Outlet):
    def __init__(self, settings: KafkaSettings, places: Places, raw: str, typed: str) -> None:
        super().__init__(settings, places, raw, typed)
        self._until_done(lambda: self._producer.init_transactions(_ANSWER_S))

    def _properties(self) -> dict[str, str | int | bool]:
        # The id ends what another publisher of this topic, alive or dead, has left open.
        return {"transactional_id": f"{GROUP}.{self._typed}"}

    def write(self, messages: Messages, places: Mapping[int, int]) -> None:
        """All of it or nothing. See Outlet."""
        self._until_done(self._producer.begin_transaction)
        try:
            self._produce(messages)
        except KafkaException as error:
            raise self._error(self._met(error.args[0])) from error
        group = self._places.consumer.consumer_group_metadata()
        reached = self._reached(places)
        self._within(lambda: self._producer.send_offsets_to_transaction(reached, group, _ANSWER_S))
        self._until_done(lambda: self._producer.commit_transaction(_ANSWER_S))

    def _within(self, call: Callable[[], Any]) -> None:
        """Ask in a thread that can be left behind.

        While the group's coordinator is away, librdkafka ignores the timeout and may wait for ever
        (its issues 5456 and 5511, open in November 2026). The transaction is then ended by whoever
        publishes the topic next.
        """
        failed: list[LogError] = []

        def ask() -> None:
            try:
                self._until_done(call)
            except LogError as error:
                failed.append(error)

        thread = Thread(target=ask, daemon=True)
        thread.start()
        thread.join(2 * _ANSWER_S)
        if thread.is_alive():
            raise BrokerUnavailable(
                f"publishing to {self._typed}: Kafka at {self._bootstrap} took no offsets of group "
                f"{GROUP} within {2 * _ANSWER_S:.0f} s. Start `k2 publish` again: it goes on where "
                "it was, and repeats nothing."
            )
        if failed:
            raise failed[0]

    def _until_done(self, call: Callable[[], Any]) -> None:
        """Ask again where Kafka says that it may help; a broker may just be restarting."""
        deadline = time.monotonic() + _ANSWER_S
        while True:
            try:
                call()
            except KafkaException as error:
                cause = error.args[0]
                if not cause.retriable() or time.monotonic() > deadline:
                    raise self._error(self._met(cause)) from error
                time.sleep(_PAUSE_S)
            else:
                return

    def _error(self, cause: KafkaError) -> LogError:
        if cause.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
            return LogError(
                f"another `k2 publish` has taken over {self._typed}: this one ends, and has "
                "repeated nothing. One process publishes a topic."
            )
        return super()._error(cause)


class _AtLeastOnce(_Outlet):
    def write(self, messages: Messages, places: Mapping[int, int]) -> None:
        """The messages first, then the places. See Outlet."""
        try:
            self._produce(messages)
            waiting = self._producer.flush(_ANSWER_S)
            if self._failure is not None or waiting:
                raise self._error(self._met(KafkaError(KafkaError._TIMED_OUT)))
            self._places.consumer.commit(offsets=self._reached(places), asynchronous=False)
        except KafkaException as error:
            raise self._error(self._met(error.args[0])) from error
