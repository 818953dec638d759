"""Files of archives, plain, gzipped or zipped: verified whole before the first row is taken.

A file with its ``.CHECKSUM`` beside it (Binance Public Data, "CHECKSUM": ``sha256  name``) must
match it. Compressed files are read through once, so that a truncated one yields no row at all.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from k2_market.errors import UsageError

CHECKSUM = ".CHECKSUM"
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_BUFFER = 1 << 20
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError)


@dataclass(frozen=True)
class Content:
    """A file's content, or that of one member of a zip; ``size`` in bytes, uncompressed.

    ``digest`` are 48 bits of the SHA-256 of the content: the same whatever the file is called.
    """

    path: Path
    member: str | None
    size: int
    digest: int

    @property
    def name(self) -> str:
        """The name that says what is inside: ``BTCUSDT-trades-2024-08-08.csv``."""
        if self.member is not None:
            return Path(self.member).name
        return self.path.name.removesuffix(".gz")

    def lines(self) -> Iterator[bytes]:
        """Its lines with their ends. Raises UsageError where it cannot be read to its end."""
        try:
            with _opened(self.path, self.member) as stream:
                yield from stream
        except _DAMAGE as error:
            raise _damaged(self.path, error) from None


def contents(path: Path) -> list[Content]:
    """What a file holds: itself, or the members of a zip. Raises UsageError if it is damaged."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"archive {str(path)!r} cannot be read: {reason}.") from None
    _require_checksum(path)
    try:
        found = [_content(path, member) for member in _members(path, start)]
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    found = [c for c in found if c.size]
    if not found:
        raise UsageError(f"archive {str(path)!r} is empty: there is nothing to load.")
    return found


def _members(path: Path, start: bytes) -> list[str | None]:
    if start != _ZIP:
        return [None]
    with zipfile.ZipFile(path) as archive:
        return [i.filename for i in archive.infolist() if not i.is_dir()]


def _content(path: Path, member: str | None) -> Content:
    digest, size = hashlib.sha256(), 0
    with _opened(path, member) as stream:
        while chunk := stream.read(_BUFFER):
            digest.update(chunk)
            size += len(chunk)
    return Content(path, member, size, int.from_bytes(digest.digest()[:6], "big"))


@contextmanager
def _opened(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    if member is not None:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield io.BufferedReader(stream, _BUFFER)  # type: ignore[type-var]
        return
    with path.open("rb", buffering=_BUFFER) as plain:
        gzipped = plain.read(2) == _GZIP
        plain.seek(0)
        if not gzipped:
            yield plain
            return
        with gzip.GzipFile(fileobj=plain) as stream:
            yield io.BufferedReader(stream, _BUFFER)


def _require_checksum(path: Path) -> None:
    beside = path.with_name(path.name + CHECKSUM)
    if not beside.exists():
        return
    expected = beside.read_text(errors="replace").split()[:1]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected != [found]:
        told = expected[0] if expected else "nothing"
        raise UsageError(
            f"archive {str(path)!r} has the SHA-256 {found}, but {beside.name} says {told}. "
            "Fetch both again."
        )


def _damaged(path: Path, error: BaseException) -> UsageError:
    return UsageError(
        f"archive {str(path)!r} is damaged and cannot be read to its end: {error}. Fetch it again."
    )
