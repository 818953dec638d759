"""Whether the catalog may have changed since it was read, for a hundredth of what reading costs."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

from k2_lake.catalog import LakeSettings

_SQLITE = "sqlite:///"

# Which file the catalog is, and what it says of its state.
Beat = tuple[int, int, int]


class Pulse:
    """Watches a catalog in SQLite; of any other it always says that it may have changed.

    "PRAGMA data_version" (SQLite's documentation): its value differs if another connection has
    committed a change between two calls on one connection. Reading it takes microseconds.
    """

    def __init__(self, settings: LakeSettings) -> None:
        self._path = _path(settings.catalog_uri)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def beat(self) -> Beat | None:
        """What stays the same while nothing changes, None where that cannot be told."""
        if self._path is None:
            return None
        with self._lock:
            try:
                return self._beat(self._path)
            except (sqlite3.Error, OSError):
                return None

    def close(self) -> None:
        """Let go of the catalog."""
        with self._lock:
            self._close()

    def _beat(self, path: Path) -> Beat:
        found = os.stat(path)  # noqa: PTH116 (half the time of Path.stat)
        file = (found.st_dev, found.st_ino)
        if self._connection is None or file != self._file:
            # Another file may stand in the place of the one that was opened.
            self._close()
            self._connection, self._file = _opened(path), file
        [version] = self._connection.execute("pragma data_version").fetchone()
        return (*file, int(version))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _opened(path: Path) -> sqlite3.Connection:
    # What cannot be told at once is asked of the catalog: nobody waits here.
    address = f"{path.as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=0, check_same_thread=False)


def _path(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE).split("?")[0]) if uri.startswith(_SQLITE) else None
