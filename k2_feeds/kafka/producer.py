"""Frames into a raw topic: idempotent, acknowledged by all replicas, none dropped on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2_feeds.kafka.backlog import Backlog
from k2_feeds.kafka.cluster import KafkaSettings, Trouble, log_error, new_client
from k2_feeds.kafka.frame import HEADER_KEY, Frame, Origin, encode_header
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.kafka.undelivered import LARGEST_MESSAGE
from k2_market.errors import BrokerUnavailable, LogError
from k2_market.kinds import Kind

# What waits for Kafka is at most so many frames, and so many bytes of them: beyond that whoever
# produces waits. librdkafka needs about 400 bytes more for each frame.
QUEUE_MESSAGES = 200_000
QUEUE_KBYTES = 65_536
_LINGER_MS = 20
DELIVERY_TIMEOUT_S = 60
_STATISTICS_MS = 200
_NO_TOPIC_AFTER_MS = 5_000  # librdkafka's 30 s is long to wait for "there is no such topic"
_WAIT_S = 0.05
_POLL_EVERY = 1_000  # frames; delivery reports pile up in memory until they are polled
_FRAMING = 64  # bytes of header, key and record besides the value, roughly

# A delivery report does not bring the headers back, so the callback holds that of its frame.
Report = Callable[[bytes, KafkaError | None, Message], None]


class FrameProducer:
    """Writes the frames of one kind of an exchange to its raw topic; a context manager.

    The key chooses the partition (CRC32, the same for all keyless frames), so frames of a symbol
    keep their order. With a ``backlog`` it waits while the tables are too far behind. What is not
    acknowledged within ``delivery_timeout_s`` is an error; 0 waits for Kafka without end.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        exchange: str,
        kind: Kind,
        *,
        backlog: Backlog | None = None,
        queue_messages: int = QUEUE_MESSAGES,
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
    ) -> None:
        self.topic = raw_topic(kind, exchange)
        self.acknowledged: Counter[int] = Counter()
        self._bootstrap, self._backlog = settings.bootstrap, backlog
        self._failure: KafkaError | None = None
        self._trouble = Trouble()
        self._config = settings.client(
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            partitioner="consistent",
            linger_ms=_LINGER_MS,
            batch_size=1_000_000,
            message_max_bytes=LARGEST_MESSAGE,
            queue_buffering_max_messages=queue_messages,
            queue_buffering_max_kbytes=QUEUE_KBYTES,
            message_timeout_ms=int(delivery_timeout_s * 1000),
            topic_metadata_propagation_max_ms=_NO_TOPIC_AFTER_MS,
            statistics_interval_ms=_STATISTICS_MS if backlog else 0,
        )
        self._client = self._new_client()

    def send(self, frame: Frame, key: str | None, origin: Origin = Origin.LIVE) -> None:
        """Hand over a frame, waiting while there is no room for it.

        ``key`` is the exchange's symbol, None where unknown. Raises BrokerUnavailable or LogError
        when an earlier frame could not be delivered.
        """
        while not self.offer(frame, key, origin):
            self.wait()

    def send_many(
        self, frames: Iterable[tuple[Frame, str | None]], origin: Origin = Origin.REPLAY
    ) -> int:
        """Hand over frames with their keys, in order, as ``send`` does; their number."""
        count = 0
        for count, (frame, key) in enumerate(frames, 1):
            while not self.offer(frame, key, origin):
                self.wait()
            if count % _POLL_EVERY == 0:
                self.poll()
        return count

    def offer(self, frame: Frame, key: str | None, origin: Origin = Origin.LIVE) -> bool:
        """Hand over a frame if there is room; False, with nothing done, if there is none.

        Never blocks. Call ``wait`` before the next try. Raises as ``send`` does.
        """
        if self._failure is not None:
            raise self._undelivered(self._failure)
        payload, received_at_us, connection_id, sequence = frame
        if self._backlog is not None and self._backlog.full:
            return False
        header = encode_header(received_at_us, connection_id, sequence, origin)
        return self._produce(payload, key, header, self._delivered)

    def _produce(self, payload: bytes, key: str | None, header: bytes, report: Report) -> bool:
        try:
            self._client.produce(
                self.topic,
                payload,
                key,
                headers=[(HEADER_KEY, header)],
                on_delivery=partial(report, header),
            )
        except BufferError:
            return False
        except KafkaException as error:
            return self._not_taken(error.args[0], payload, key, header)
        if self._backlog is not None:
            self._backlog.sent(len(payload) + _FRAMING)
        return True

    def keep(self, frame: Frame, key: str | None, origin: Origin = Origin.LIVE) -> None:
        """Take the last frame of someone who ends: as ``send``."""
        self.send(frame, key, origin)

    def poll(self) -> None:
        """Take delivery reports that are there. Call it now and then while frames are rare."""
        self._client.poll(0)

    def wait(self) -> None:
        """Give room a moment (50 ms) to appear; blocks, so call it from a thread beside a loop."""
        self._client.poll(_WAIT_S)
        if self._backlog is not None and self._backlog.full:
            self._backlog.refresh()

    def flush(self, timeout_s: float = DELIVERY_TIMEOUT_S) -> dict[int, int]:
        """Wait until every frame handed over is acknowledged; their number so far, by partition.

        Raises BrokerUnavailable if some are not within ``timeout_s``.
        """
        waiting = self._client.flush(timeout_s)
        if self._failure is not None:
            raise self._undelivered(self._failure)
        if waiting:
            raise BrokerUnavailable(
                f"{waiting} frames for {self.topic} were not acknowledged within {timeout_s:.0f} s "
                f"by Kafka at {self._bootstrap}. Is it running and reachable from here?"
            )
        return dict(self.acknowledged)

    def __enter__(self) -> FrameProducer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # On an error there is no promise to keep: what is queued may be what failed.
        if error is None:
            self.flush()

    def _new_client(self, **properties: int) -> Producer:
        own = {name.replace("_", "."): value for name, value in properties.items()}
        callbacks = {"stats_cb": self._measure, "error_cb": self._trouble.note}
        return new_client(Producer, {**self._config, **own, **callbacks})

    def _not_taken(
        self,
        cause: KafkaError,
        payload: bytes,  # noqa: ARG002
        key: str | None,  # noqa: ARG002
        header: bytes,  # noqa: ARG002
    ) -> bool:
        """What becomes of a frame that the client itself refused."""
        raise self._undelivered(cause)

    def _delivered(self, header: bytes, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            if self._backlog is not None:
                self._backlog.withdrawn(len(message) + _FRAMING)
            self._refused(header, error, message)
            return
        partition, offset = message.partition(), message.offset()
        if partition is None or offset is None:
            return  # never, for a message that was delivered
        self.acknowledged[partition] += 1
        if self._backlog is not None:
            self._backlog.delivered(partition, offset, len(message) + _FRAMING)

    def _refused(self, header: bytes, error: KafkaError, message: Message) -> None:  # noqa: ARG002
        self._failure = self._failure or error

    def _measure(self, statistics: str) -> None:
        found = json.loads(statistics)
        if self._backlog is not None and found["txmsg_bytes"]:
            wire = sum(broker["txbytes"] for broker in found["brokers"].values())
            self._backlog.wire_ratio = min(1.0, wire / found["txmsg_bytes"])

    def _undelivered(self, cause: KafkaError) -> LogError:
        doing = f"a frame for {self.topic} was not delivered"
        return log_error(doing, self._bootstrap, cause, self._trouble)
