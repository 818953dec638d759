"""Frames that Kafka has not got, on disk: dead letters that it refuses, and a spool for later.

In a home, ``undelivered/letters`` holds a file for each frame that Kafka refused for good, such as
one that is larger than the topic takes; it stays until someone replays or removes it.
``undelivered/spool`` holds what was still waiting for Kafka when a feed stopped; the next feed
produces it first. Both are records of one form, MessagePack: topic, key, header and payload as
they would have gone into Kafka, why they did not, and since when they are kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2_feeds.kafka.cluster import KafkaSettings, Trouble, log_error, new_client
from k2_feeds.kafka.frame import HEADER_KEY
from k2_market.errors import LogError, UsageError

FOLDER = "undelivered"
_LETTERS, _SPOOL, _SUFFIX, _DRAFT = "letters", "spool", ".frame", ".draft"
_REPLAY_WITHIN_S = 30.0
# A frame of 16 MB is the largest that a session takes; what the broker takes, it says itself.
LARGEST_MESSAGE = 20_000_000


class Undelivered(msgspec.Struct, frozen=True, array_like=True):
    """A frame as Kafka should have got it. ``header`` is that of ``k2_feeds.kafka.frame``.

    ``kept_at_us`` is microseconds since 1970 UTC; ``reason`` is Kafka's name of the error.
    """

    topic: str
    key: str | None
    header: bytes
    payload: bytes
    reason: str
    kept_at_us: int

    @classmethod
    def of(cls, message: Message, header: bytes, reason: str) -> Undelivered:
        """What a delivery report gives back, and the header that it does not."""
        key, payload = message.key(), _bytes(message.value())
        name = key.decode(errors="surrogateescape") if isinstance(key, bytes) else key
        return cls(message.topic() or "", name, header, payload, reason, time.time_ns() // 1000)


_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Undelivered).decode
_decode_many = msgspec.msgpack.Decoder(list[Undelivered]).decode


class DeadLetters:
    """The frames that Kafka refused for good, a file each, in ``<home>/undelivered/letters``.

    A letter's id is its file's name. Any process may read, replay and remove while a feed adds.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER / _LETTERS

    def append(self, letter: Undelivered) -> str:
        """Keep a letter for good; its id. Raises LogError when the disk does not take it."""
        number = f"{letter.kept_at_us:016d}-{os.getpid()}"
        while (self._folder / (number + _SUFFIX)).exists():
            number += "x"
        _write(self._folder / (number + _SUFFIX), _encode(letter))
        return number

    def ids(self) -> list[str]:
        """Of all letters, oldest first."""
        return [path.stem for path in _files(self._folder)]

    def read(self, number: str) -> Undelivered:
        """One letter. Raises UsageError if there is none of that id, or if it cannot be read."""
        path = self._folder / (number + _SUFFIX)
        try:
            return _decode(path.read_bytes())
        except FileNotFoundError:
            raise UsageError(
                f"there is no dead letter {number!r} in {self._folder}. "
                "`k2 dlq list` shows those that there are."
            ) from None
        except (OSError, msgspec.MsgspecError) as error:
            raise UsageError(f"the dead letter {path} cannot be read: {error}.") from None

    def remove(self, number: str) -> None:
        """Forget a letter; nothing happens if it is gone already."""
        (self._folder / (number + _SUFFIX)).unlink(missing_ok=True)

    def replay(self, numbers: Sequence[str], settings: KafkaSettings) -> dict[str, str]:
        """Produce letters again and remove those that Kafka took; why not, by id, of the others.

        A letter may come twice if this is killed between the two; gold keeps a trade once. Raises
        UsageError for an unknown id, BrokerUnavailable or LogError if Kafka took none of them.
        """
        letters = {number: self.read(number) for number in numbers}
        refused = _produce(letters, settings)
        for number in letters.keys() - refused.keys():
            self.remove(number)
        return refused


class Spool:
    """What a stopped feed could not deliver to one topic, in ``<home>/undelivered/spool``."""

    def __init__(self, home: Path, topic: str) -> None:
        self._folder = home / FOLDER / _SPOOL / topic

    def files(self) -> list[Path]:
        """What is kept, oldest first."""
        return _files(self._folder)

    def write(self, frames: Sequence[Undelivered]) -> Path:
        """Keep frames for good, in their order. Raises LogError when the disk is full."""
        path = self._folder / f"{time.time_ns():020d}-{os.getpid()}{_SUFFIX}"
        _write(path, _encode(list(frames)))
        return path

    def read(self, files: Iterable[Path]) -> list[Undelivered]:
        """Their frames in order. Raises UsageError for a damaged file, which stays."""
        found: list[Undelivered] = []
        for path in files:
            try:
                found += _decode_many(path.read_bytes())
            except (OSError, msgspec.MsgspecError) as error:
                raise UsageError(
                    f"{path}, frames that a feed kept when it stopped, cannot be read: {error}. "
                    "Move it away to start without them."
                ) from None
        return found


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}")) if folder.exists() else []


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and on the disk itself before its name stands. Raises LogError."""
    try:
        _write_whole(path, content)
    except OSError as error:
        raise LogError(
            f"{path}, frames that Kafka has not got, cannot be written: {error.strerror}. They are "
            "lost. Make room on the disk, and see why Kafka does not take them."
        ) from error


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(_DRAFT)
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _produce(letters: dict[str, Undelivered], settings: KafkaSettings) -> dict[str, str]:
    trouble = Trouble()
    own = settings.client(
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        partitioner="consistent",
        batch_num_messages=1,
        message_max_bytes=LARGEST_MESSAGE,
        message_timeout_ms=int(_REPLAY_WITHIN_S * 1000),
    )
    client = new_client(Producer, {**own, "error_cb": trouble.note})
    failed: dict[str, KafkaError] = {}
    for number, letter in letters.items():
        _hand_over(client, number, letter, failed)
    client.flush()
    if failed and len(failed) == len(letters):
        _raise_if_away(next(iter(failed.values())), settings, trouble)
    return {number: error.name() for number, error in failed.items()}


def _hand_over(
    client: Producer, number: str, letter: Undelivered, failed: dict[str, KafkaError]
) -> None:
    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed[number] = error

    key = None if letter.key is None else letter.key.encode(errors="surrogateescape")
    headers: list[tuple[str, str | bytes | None]] = [(HEADER_KEY, letter.header)]
    while True:
        try:
            client.produce(
                letter.topic, letter.payload, key, headers=headers, on_delivery=delivered
            )
        except BufferError:
            client.poll(0.1)
        except KafkaException as error:
            failed[number] = error.args[0]
            return
        else:
            return


def _raise_if_away(cause: KafkaError, settings: KafkaSettings, trouble: Trouble) -> None:
    """A refusal of the letters themselves is told letter by letter; Kafka being away is raised."""
    error = log_error("replaying dead letters", settings.bootstrap, cause, trouble)
    if error.retryable or type(error) is not LogError or trouble.cause is not None:
        raise error
