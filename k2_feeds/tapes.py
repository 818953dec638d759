"""Tapes: recorded frames in files, read back with the time each was received.

Two forms, plain or gzipped, told line by line: ``RECV_NS {json}``, and JSON lines with ``dir``,
``t`` and ``raw``, of which those received are frames. No line is lost: one that is neither becomes
a frame of its own bytes, which the parser then reads or rejects with its reason.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_market.errors import UsageError

BATCH = 10_000

_GZIP = b"\x1f\x8b"
_BUFFER = 1 << 20
_MICROS = 1_000_000


class TapeFrame(msgspec.Struct, frozen=True, gc=False):
    """A recorded frame, the number of its line and of its connection within the tape.

    ``received_at_us`` is microseconds since 1970 UTC, cut, not rounded. ``line`` counts from 1.
    ``connection`` counts the recorder's ``connect`` lines so far.
    """

    received_at_us: int
    payload: bytes
    line: int
    connection: int


class _Entry(msgspec.Struct, gc=False):
    raw: str | None = None
    dir: str = ""
    t: msgspec.Raw = msgspec.Raw(b"")


_decode_entry = msgspec.json.Decoder(_Entry).decode


def read_tape(path: Path, clock_us: int) -> Iterator[list[TapeFrame]]:
    """The frames of a tape in order, in lists of at most BATCH.

    ``clock_us`` (microseconds since 1970 UTC) is the receive time of frames whose line has none. A
    line that cannot be read takes the time of the line before it. Raises UsageError at once if
    the file cannot be opened, and on the way if it cannot be read to its end.
    """
    _open(path).close()
    return _batches(path, clock_us)


def micros_of_stamp(stamp: int) -> int:
    """Microseconds of a time since 1970 in seconds, ms, us or ns, told by its magnitude.

    From 1973 to 5138 the four do not overlap: 10**11 seconds are the year 5138, 10**11
    milliseconds 1973.
    """
    if stamp < 10**11:
        return stamp * _MICROS
    if stamp < 10**14:
        return stamp * 1000
    return stamp if stamp < 10**17 else stamp // 1000


def _batches(path: Path, clock_us: int) -> Iterator[list[TapeFrame]]:
    with _open(path) as lines:
        frames = _frames(lines, clock_us)
        try:
            while batch := list(islice(frames, BATCH)):
                yield batch
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(
                f"tape {str(path)!r} is damaged and cannot be read to its end: {error}. "
                "Record or fetch it again."
            ) from None


def _open(path: Path) -> IO[bytes]:
    try:
        plain = path.open("rb", buffering=_BUFFER)
        if plain.read(2) != _GZIP:
            plain.seek(0)
            return plain
        plain.close()
        return io.BufferedReader(gzip.GzipFile(path), _BUFFER)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"tape {str(path)!r} cannot be read: {reason}. Name a file of recorded frames."
        ) from None


def _frames(lines: Iterable[bytes], clock_us: int) -> Iterator[TapeFrame]:
    previous, connection = clock_us, 0
    for number, ended in enumerate(lines, start=1):
        line = ended.rstrip(b"\r\n")
        stamp, _, payload = line.partition(b" ")
        if payload and stamp.isdigit() and len(stamp) < 20:
            previous = micros_of_stamp(int(stamp))
            yield TapeFrame(previous, payload, number, connection)
            continue
        entry = _entry(line)
        if entry.dir not in ("", "recv"):
            connection += entry.dir == "connect"
        elif entry.raw is not None:
            previous = _received_at(entry.t, clock_us, previous)
            yield TapeFrame(previous, entry.raw.encode(), number, connection)
        elif line:
            yield TapeFrame(previous, line, number, connection)


def _entry(line: bytes) -> _Entry:
    try:
        return _decode_entry(line)
    except WIRE_ERRORS:
        return _Entry()


def _received_at(t: msgspec.Raw, clock_us: int, previous: int) -> int:
    text = bytes(t).strip(b'"')
    if not text or text == b"null":
        return clock_us
    try:
        seconds = Decimal(text.decode())
        # Bounded before it becomes an integer: 1e999999999 seconds would fill the memory.
        return int(seconds * _MICROS) if 0 <= seconds < 10**11 else previous
    except (InvalidOperation, UnicodeDecodeError):
        return previous
