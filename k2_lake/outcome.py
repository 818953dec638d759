"""What became of a commit that broke off: it took place all the same, or nothing of it is left.

A catalog that dies while it swaps the table's metadata leaves its client without an answer. So the
table is read again. Only where the commit surely did not take place are its files removed; where
nobody knows, they stay, and the next run finds out: progress is in the snapshot itself.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from sqlalchemy.exc import SQLAlchemyError

from k2_lake.faults import DAMAGED, FAULTS, UNREACHABLE, broken_manifests, broken_table, told
from k2_lake.tables import name_of
from k2_market.errors import FileBroken, LakeUnavailable

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Outputs(FileIO):
    """A store that remembers what was begun: nothing shall be left of a write that failed."""

    def __init__(self, store: FileIO) -> None:
        super().__init__(store.properties)
        self._store = store
        self._begun: list[str] = []

    def new_input(self, location: str) -> InputFile:
        """See FileIO."""
        return self._store.new_input(location)

    def new_output(self, location: str) -> OutputFile:
        """See FileIO."""
        self._begun.append(location)
        return self._store.new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """See FileIO."""
        self._store.delete(location)

    def adopt(self, files: Iterable[DataFile]) -> None:
        """Take files that others wrote, as workers do, for its own."""
        self._begun += [file.file_path for file in files]

    def undo(self) -> None:
        """Remove all that was begun; what cannot be removed is an orphan for gc."""
        for location in self._begun:
            with suppress(OSError):
                self._store.delete(location)


@contextmanager
def writing(table: str) -> Iterator[None]:
    """Write files of ``table`` that a commit shall add later. Raises LakeUnavailable."""
    try:
        yield
    except UNREACHABLE as error:
        raise _unwritable(table, error, "Nothing was committed.") from error


def settle(table: Table, error: Exception, outputs: Outputs | None, producer: Any) -> None:
    """Return if the commit of ``producer`` took place all the same, and ``table`` then shows it.

    Else remove what is left of it and raise FileBroken, LakeUnavailable, or ``error`` itself where
    neither catalog, store nor a file is to blame.
    """
    found = _reloaded(table)
    if isinstance(found, Table) and _contains(found, producer):
        table.metadata, table.metadata_location = found.metadata, found.metadata_location
        return
    in_doubt = _in_doubt(table, error, found)
    if not in_doubt:
        _undo(outputs, producer)
    if isinstance(found, (FileNotFoundError, *DAMAGED)):
        raise broken_table(name_of(table), table.metadata_location, found) from error
    _raise(table, error, in_doubt=in_doubt)


def _reloaded(table: Table) -> Table | Exception:
    try:
        return table.catalog.load_table(table.name())
    except FAULTS as error:
        return error


def _contains(table: Table, producer: Any) -> bool:
    return producer is not None and table.snapshot_by_id(producer.snapshot_id) is not None


def _in_doubt(table: Table, error: Exception, found: Table | Exception) -> bool:
    """A database elsewhere may be at work on the swap still; one in this process is not."""
    if not isinstance(error, SQLAlchemyError | CommitStateUnknownException):
        return False
    return isinstance(found, Exception) or "sqlite" not in table.catalog.properties.get("uri", "")


def _undo(outputs: Outputs | None, producer: Any) -> None:
    if producer is not None:
        producer._clean_all_uncommitted()
    if outputs is not None:
        outputs.undo()


def _raise(table: Table, error: Exception, *, in_doubt: bool) -> None:
    if isinstance(error, FileNotFoundError) or not isinstance(error, UNREACHABLE):
        _raise_broken(table, error)
    if not isinstance(error, UNREACHABLE):
        raise error
    committed = (
        "Whether it was committed is not known yet: the next run sees it and does not repeat it."
        if in_doubt
        else "Nothing was committed."
    )
    raise _unwritable(name_of(table), error, committed) from error


def _unwritable(table: str, error: Exception, committed: str) -> LakeUnavailable:
    return LakeUnavailable(
        f"{table} could not be written: {told(error)}. {committed} {_next_step(error)}"
    )


def _raise_broken(table: Table, error: Exception) -> None:
    head = table.current_snapshot()
    broken: Iterable[LakeUnavailable] = () if head is None else broken_manifests(table, [head])
    for found in broken:
        if isinstance(found, FileBroken):
            raise found from error


def _next_step(error: Exception) -> str:
    full = getattr(error, "errno", None) in _NO_ROOM or "disk is full" in str(error)
    if full:
        return (
            "The disk is full: make room (`k2 lake gc` removes files that nothing needs), then "
            "run again."
        )
    return "Run again when the catalog and the store are back."
