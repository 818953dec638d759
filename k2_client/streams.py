"""Streamed answers: Arrow record batches off the wire, and files that are whole or not there."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from k2_client.problems import BadAnswer
from k2_market.errors import UnknownName, UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import WriteableBuffer

FORMATS = ("arrow", "csv", "ndjson", "parquet")
_SUFFIXES = {".arrow": "arrow", ".arrows": "arrow", ".jsonl": "ndjson"} | {
    f".{name}": name for name in FORMATS
}
_BUFFER = 1 << 20


class ArrowStream:
    """An Arrow IPC stream as it comes; at most ``limit`` rows of it, None for all.

    Raises BadAnswer where it is none.
    """

    def __init__(self, chunks: Iterator[bytes], limit: int | None) -> None:
        from pyarrow import ArrowInvalid, ipc

        source = io.BufferedReader(_Readable(chunks), _BUFFER)
        try:
            self._reader = ipc.open_stream(cast("io.IOBase", source))
        except (ArrowInvalid, OSError) as error:
            raise BadAnswer(f"what came is no Arrow stream: {error}.") from error
        self.schema: pa.Schema = self._reader.schema
        self._limit = limit

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        from pyarrow import ArrowInvalid

        left = self._limit
        try:
            for batch in self._reader:
                taken = batch if left is None else batch.slice(0, left)
                yield taken
                if left is not None:
                    left -= taken.num_rows
                    if left == 0:
                        return
        except (ArrowInvalid, OSError) as error:
            raise BadAnswer(f"the Arrow stream is damaged: {error}.") from error


class _Readable(io.RawIOBase):
    """Chunks as a file to be read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")
        while not self._rest:
            following = next(self._chunks, None)
            if following is None:
                return 0
            self._rest = memoryview(following)
        taken = min(len(room), len(self._rest))
        room[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken


def format_of(file: Path, name: str | None) -> str:
    """The format of that name, else the one that the file's name ends with. Raises UsageError."""
    if name is None:
        found = _SUFFIXES.get(file.suffix.lower())
        if found is None:
            raise UsageError(
                f"the name {file.name!r} does not tell a format. End it with one of "
                f"{', '.join(sorted(_SUFFIXES))}, or name the format."
            )
        return found
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    return name


def write_whole(
    file: Path, answer: AbstractContextManager[Iterator[bytes]], seen: Callable[[int], None]
) -> None:
    """Write the file; it gets its name when all of it is there. ``seen`` is told each length.

    Raises UsageError where it cannot be written, before anything is asked if that is plain.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as out, answer as chunks:
            for chunk in chunks:
                out.write(chunk)
                seen(len(chunk))
        part.replace(file)
    except OSError as error:
        raise UsageError(f"{str(file)!r} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
