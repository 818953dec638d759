"""The places where the process is killed: a watch around what the product calls there.

The harness puts it there, in the process that is to be killed alone. The product knows nothing of
it.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from typing import Any

import dagster as dg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import ParquetFormatWriter
from pyiceberg.table import Transaction
from sqlalchemy.orm import Session

import k2_lake.commit
import k2_lake.maintenance.garbage
import k2_lake.silver
from k2_lake.tables import REJECTED_TABLE, name_of


class Place(StrEnum):
    """Where a process is killed."""

    BEFORE_WRITE = "before the write"
    IN_A_FILE = "within a data file"
    FILES_WRITTEN = "between files and commit"
    MANIFESTS_WRITTEN = "in the commit: manifests written"
    METADATA_WRITTEN = "in the commit: metadata written, row not swapped"
    ROW_SWAPPED = "in the commit: row swapped, not yet committed"
    COMMITTED = "after the commit"
    BETWEEN_TABLES = "between the two tables of a step"
    BEFORE_EVENT = "after the commit, before Dagster's event"
    AFTER_EVENT = "after Dagster's event, before the run's end"
    BETWEEN_DELETIONS = "between two deletions"
    ANYWHERE = "at any moment"


Around = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass
class Watch:
    """Counts the passings of every place, and kills at the one that it was told."""

    passings: Counter[Place] = field(default_factory=Counter)
    kill: tuple[Place, int] | None = None

    def __call__(self, place: Place) -> None:
        """The process is at that place now."""
        self.passings[place] += 1
        if (place, self.passings[place]) == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)


def put(watch: Watch) -> None:
    """Have the watch told of every place."""
    _around(k2_lake.commit, "_dataframe_to_data_files", _writing(watch))
    _around(ParquetFormatWriter, "write", _after(watch, Place.IN_A_FILE))
    _around(Transaction, "commit_transaction", _before(watch, Place.MANIFESTS_WRITTEN))
    _around(SqlCatalog, "commit_table", _after(watch, Place.COMMITTED))
    metadata_written = _after(watch, Place.METADATA_WRITTEN)
    SqlCatalog._write_metadata = staticmethod(metadata_written(SqlCatalog._write_metadata))
    _around(Session, "commit", _swapped(watch))
    _around(dg.DagsterInstance, "handle_new_event", _event(watch))
    _around(k2_lake.silver, "commit", _noted(watch))
    _around(k2_lake.maintenance.garbage, "_delete", _deleting(watch))


def _around(owner: Any, name: str, around: Around) -> None:
    setattr(owner, name, around(getattr(owner, name)))


def _before(watch: Watch, place: Place) -> Around:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            watch(place)
            return original(*args, **kwargs)

        return watched

    return around


def _after(watch: Watch, place: Place) -> Around:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            watch(place)
            return result

        return watched

    return around


def _writing(watch: Watch) -> Around:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            watch(Place.BEFORE_WRITE)
            written = list(original(*args, **kwargs))
            watch(Place.FILES_WRITTEN)
            return written

        return watched

    return around


def _swapped(watch: Watch) -> Around:
    """The catalog's session: what it changed is in the database, within a transaction."""

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(session: Session) -> None:
            session.flush()
            watch(Place.ROW_SWAPPED)
            original(session)

        return watched

    return around


def _event(watch: Watch) -> Around:
    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(instance: dg.DagsterInstance, event: Any, **kwargs: Any) -> None:
            told = event.dagster_event is not None and event.dagster_event.is_step_materialization
            if told:
                watch(Place.BEFORE_EVENT)
            original(instance, event, **kwargs)
            if told:
                watch(Place.AFTER_EVENT)

        return watched

    return around


def _noted(watch: Watch) -> Around:
    """A step of silver writes its rejected rows first."""

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(table: Any, **kwargs: Any) -> Any:
            snapshot = original(table, **kwargs)
            if name_of(table) == REJECTED_TABLE:
                watch(Place.BETWEEN_TABLES)
            return snapshot

        return watched

    return around


def _deleting(watch: Watch) -> Around:
    """One file after the other."""

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(store: Any, files: Any) -> int:
            freed = 0
            for file in files:
                freed += original(store, (file,))
                watch(Place.BETWEEN_DELETIONS)
            return freed

        return watched

    return around
