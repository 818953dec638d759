"""A producer that no frame gets lost in: for live feeds, which nobody can ask to send again.

Frames wait for Kafka however long it is away, up to a bound; then whoever produces has to wait.
What the client gives back unproduced (it failed for good, the topic is missing) is produced again
by a new client, in order. What is still waiting when the feed stops goes to the spool, and is the
first to be produced at the next start. A frame that Kafka refuses for what it is, too large for
instance, becomes a dead letter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from random import Random
from struct import unpack_from

from confluent_kafka import KafkaError, Message, Producer

from k2_feeds.kafka.backlog import Backlog
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import HEADER_KEY, Frame, Origin, encode_header
from k2_feeds.kafka.memory import give_back
from k2_feeds.kafka.producer import FrameProducer, Report
from k2_feeds.kafka.undelivered import DeadLetters, Spool, Undelivered
from k2_feeds.live.liveness import backoff
from k2_market.errors import LogError
from k2_market.kinds import Kind

# What is wrong with a frame itself, or with one that shares its batch.
_OF_THE_FRAME = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
}
_RESENT_AT_ONCE = 5_000
_FLUSH_S = 0.2
_GIVE_BACK_S = 1.0
_STALLED_AFTER_S = 5.0
# So many frames wait only while Kafka is away or slow, and so few once it has caught up.
_MANY, _FEW = 5_000, 500
DRAIN_S = 10.0

log = logging.getLogger(__name__)


class LastingProducer(FrameProducer):
    """A FrameProducer whose ``offer`` never raises and whose frames are in Kafka or on disk.

    ``home`` is the folder of the spool and the dead letters; without one nothing is kept on disk.
    ``outages`` counts how often the client had to be replaced, ``letters`` the frames that Kafka
    refused. Call ``poll`` regularly, and ``stop`` at the end.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        exchange: str,
        kind: Kind,
        *,
        backlog: Backlog | None = None,
        home: Path | None = None,
    ) -> None:
        super().__init__(settings, exchange, kind, backlog=backlog, delivery_timeout_s=0)
        self.outages = self.letters = 0
        self._letters = None if home is None else DeadLetters(home)
        self._spool = None if home is None else Spool(home, self.topic)
        self._spool_files = [] if self._spool is None else self._spool.files()
        # To be produced before anything else, in order: what was kept, then what came back.
        self._kept = deque([] if self._spool is None else self._spool.read(self._spool_files))
        self._kept_left = len(self._kept)
        self._returned: deque[Undelivered] = deque()
        self._given_back: list[Undelivered] = []
        self._alone: Producer | None = None
        self._stopping = False
        self._delays = backoff(Random())
        self._renew_at: float | None = None
        self._moved = (0, time.monotonic())
        self._swollen = False
        self._lock = threading.Lock()  # waiting sessions and the feed's poll are several threads

    @property
    def queued(self) -> int:
        """Frames that are not acknowledged."""
        clients = [client for client in (self._client, self._alone) if client is not None]
        waiting = len(self._kept) + len(self._returned) + len(self._given_back)
        return waiting + sum(map(len, clients))

    @property
    def trouble(self) -> str | None:
        """What keeps frames from Kafka, in one sentence; None while they get there."""
        stalled = time.monotonic() - self._moved[1] > _STALLED_AFTER_S
        cause = self._failure or (self._trouble.cause if stalled else None)
        if cause is None:
            return "Kafka acknowledges nothing" if stalled else None
        return str(self._undelivered(cause))

    def offer(self, frame: Frame, key: str | None, origin: Origin = Origin.LIVE) -> bool:
        """Hand over a frame if there is room; False, with nothing done, if there is none.

        Never blocks and never raises. Once it is stopping there always is room.
        """
        if self._stopping:
            self.keep(frame, key, origin)
            return True
        if self._failure is not None or self._kept or self._returned:
            return False
        return super().offer(frame, key, origin)

    def keep(self, frame: Frame, key: str | None, origin: Origin = Origin.LIVE) -> None:
        """Take a frame whether there is room or not: the last one of who must end now."""
        header = encode_header(frame[1], frame[2], frame[3], origin)
        self._returned.append(self._record(frame[0], key, header, "the feed stopped"))

    def poll(self) -> None:
        """Take delivery reports; replace a client that failed; produce again what came back."""
        if self._lock.acquire(blocking=False):
            try:
                self._advance()
            finally:
                self._lock.release()

    def wait(self) -> None:
        """Give room a moment (50 ms) to appear; blocks, so call it from a thread beside a loop."""
        super().wait()
        self.poll()

    def begin_stop(self) -> None:
        """From now on there is room for everything, so that those who produce can end."""
        self._stopping = True

    def stop(self, drain_s: float = DRAIN_S) -> int:
        """Wait for Kafka to take what is left, then keep the rest on disk; how much that was."""
        self._stopping, deadline = True, time.monotonic() + drain_s
        with self._lock:
            while self.queued and time.monotonic() < deadline:
                self._advance()
                self._client.flush(_FLUSH_S)
            while not self._take_back():
                pass
            return self._keep_on_disk()

    def _advance(self) -> None:
        self._client.poll(0)
        if self._alone is not None:
            self._alone.poll(0)
        if self._failure is not None:
            self._renew()
        self._resend(self._kept, self._delivered_kept)
        self._resend(self._returned, self._delivered)
        acknowledged = sum(self.acknowledged.values())
        if acknowledged != self._moved[0] or not self.queued:
            self._moved = (acknowledged, time.monotonic())
            self._trouble.cause = None
        self._slim()

    def _slim(self) -> None:
        """Once frames that had gathered are gone, so is the memory that they took."""
        queued = self.queued
        if self._swollen and queued < _FEW:
            give_back()
        self._swollen = queued > _MANY or (self._swollen and queued >= _FEW)

    def _resend(self, records: deque[Undelivered], report: Report) -> None:
        for _ in range(min(len(records), _RESENT_AT_ONCE)):
            if self._failure is not None or (self._backlog is not None and self._backlog.full):
                return
            record = records[0]
            if not self._produce(record.payload, record.key, record.header, report):
                return
            records.popleft()

    def _renew(self) -> None:
        """After a pause, take all frames back from the client that failed and begin a new one."""
        now = time.monotonic()
        if self._renew_at is None:
            delay_s = next(self._delays)
            self._renew_at = now + delay_s
            told, waiting = self.trouble, f"{self.queued:,}"
            log.error("%s %s frames wait; a new try in %.1f s", told, waiting, delay_s)
        if now < self._renew_at or not self._take_back():
            return
        self._client, self._failure, self._renew_at = self._new_client(), None, None
        self.outages += 1

    def _take_back(self) -> bool:
        """Have the clients give back what they hold, to produce it again in order; whether all."""
        for client in (self._client, self._alone):
            if client is not None:
                client.purge()
                if client.flush(_GIVE_BACK_S):
                    return False
        self._alone = None
        returned = [*self._given_back, *self._returned]
        self._given_back, self._returned = [], deque(sorted(returned, key=_received))
        return True

    def _keep_on_disk(self) -> int:
        left = [*self._kept, *self._returned]
        if self._spool is not None:
            if left:
                path = self._spool.write(left)
                log.warning("%s frames that Kafka did not take are kept in %s", len(left), path)
            self._forget_kept()
        return len(left)

    def _forget_kept(self) -> None:
        """The frames of the spool's files are in Kafka, or in a newer file."""
        for path in self._spool_files:
            path.unlink(missing_ok=True)
        self._spool_files = []

    def _delivered_kept(self, header: bytes, error: KafkaError | None, message: Message) -> None:
        """A frame of the spool: once all are delivered its files go, at the latest when stopped."""
        self._delivered(header, error, message)
        if error is None:
            self._kept_left -= 1
            if not self._kept_left:
                self._forget_kept()

    def _refused(self, header: bytes, error: KafkaError, message: Message) -> None:
        """A batch was refused: which frame is to blame shows when each comes by itself."""
        record = Undelivered.of(message, header, error.name())
        if error.code() not in _OF_THE_FRAME:
            self._give_back(error, record)
            return
        if self._alone is None:
            self._alone = self._new_client(batch_num_messages=1)
        headers: list[tuple[str, str | bytes | None]] = [(HEADER_KEY, record.header)]
        try:
            self._alone.produce(
                self.topic,
                record.payload,
                record.key,
                headers=headers,
                on_delivery=partial(self._delivered_alone, header),
            )
        except BufferError:
            self._give_back(error, record)

    def _delivered_alone(self, header: bytes, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged[message.partition() or 0] += 1
        elif error.code() in _OF_THE_FRAME:
            self._write_letter(Undelivered.of(message, header, error.name()))
        else:
            self._give_back(error, Undelivered.of(message, header, error.name()))

    def _give_back(self, error: KafkaError, record: Undelivered) -> None:
        self._given_back.append(record)
        if error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            self._failure = self._failure or error

    def _not_taken(self, cause: KafkaError, payload: bytes, key: str | None, header: bytes) -> bool:
        if cause.code() in _OF_THE_FRAME:
            self._write_letter(self._record(payload, key, header, cause.name()))
            return True
        self._failure = self._failure or cause
        return False

    def _write_letter(self, record: Undelivered) -> None:
        self.letters += 1
        try:
            kept = None if self._letters is None else self._letters.append(record)
        except LogError as error:
            # The frames that Kafka does take must not stop for one that it never will.
            kept = str(error)
        log.error("Kafka refused a frame (%s): dead letter %s", record.reason, kept)

    def _record(self, payload: bytes, key: str | None, header: bytes, why: str) -> Undelivered:
        return Undelivered(self.topic, key, header, payload, why, time.time_ns() // 1000)


def _received(record: Undelivered) -> tuple[int, int, int]:
    """When a frame was received, by which connection as which: the order to produce it in."""
    received_at, connection_id, sequence = unpack_from(">qqq", record.header, 8)
    return received_at, connection_id, sequence
