"""Commits: rows, removed files and progress in one snapshot, fenced by the head that was read.

PyIceberg asserts that the table's head is still the one in the ``Table`` object that the work was
planned on; with its retries switched off a second writer gets a conflict instead of committing
the same rows again. ``retry_conflicts`` then does the whole step anew from the new head.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any, Literal, ParamSpec, TypeVar

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AddSnapshotUpdate, ValidatableTableRequirement

from k2_lake.faults import FAULTS
from k2_lake.history import (
    DAYS,
    FIGURES,
    MODE,
    OF_A_COMMIT,
    PROGRESS,
    SOURCES,
    Consumed,
    Mode,
    lineage,
    progress,
)
from k2_lake.outcome import Outputs, settle
from k2_lake.tables import name_of, table_def
from k2_market.errors import CommitConflict

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 8


class _StillKept(ValidatableTableRequirement):
    """None of these snapshots was expired in the meantime: their files may be gone."""

    type: Literal["assert-k2-kept"] = "assert-k2-kept"
    snapshot_ids: frozenset[int]

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]
        """See PyIceberg: asked at the moment of the commit, of the table as it is then."""
        known = {s.snapshot_id for s in base_metadata.snapshots} if base_metadata else set()
        if gone := self.snapshot_ids - known:
            raise CommitFailedException(f"snapshot {min(gone)} was expired")


def commit(
    table: Table,
    *,
    add: Iterable[pa.Table] = (),
    add_files: Iterable[DataFile] = (),
    outputs: Outputs | None = None,
    remove: Iterable[DataFile] = (),
    needs: Iterable[int] = (),
    mode: Mode,
    days: Iterable[date],
    sources: Mapping[str, Consumed] | None = None,
    figures: Mapping[str, object] | None = None,
    extra: Mapping[str, str] | None = None,
) -> Snapshot:
    """Commit one snapshot to ``table``, which must be the object the work was planned on.

    ``add`` holds tables in the record's schema, each in the order its rows shall have; ``remove``
    names whole files. Removing and adding is one snapshot, so no reader ever sees the day empty.
    ``add_files`` were written before, by ``written_files``; if the commit surely does not take
    place, they are removed where ``outputs`` knows of them, and else left alone.
    ``needs``: snapshots that must not have been expired when it takes place.
    Progress that is not given, in ``sources`` or ``extra``, stays what it was.
    Raises CommitConflict when another writer was first, LakeUnavailable when the catalog or the
    store failed, FileBroken where a file of the table is: either all of it is visible or nothing.
    """
    _require_declared(table, sources or {}, extra or {})
    summary = progress(table) | _summary(mode, days, sources, figures, extra)
    removed = list(remove)
    outputs = Outputs(table.io) if outputs is None else outputs
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties=summary)
    producer = update.overwrite() if removed else update.merge_append()
    with committed(table, outputs, producer):
        written = [file for rows in add for file in written_files(table, rows, outputs)]
        written += add_files
        with producer:
            for file in removed:
                producer.delete_data_file(file)
            for file in written:
                producer.append_data_file(file)
        _in_order(transaction, table)
        _require_kept(transaction, needs)
        transaction.commit_transaction()
    return lineage(table)[0]


def written_files(table: Table, rows: pa.Table, io: FileIO | None = None) -> list[DataFile]:
    """The files written for these rows; nobody sees them before a commit adds them."""
    if not rows.num_rows:
        return []
    return list(
        _dataframe_to_data_files(
            table_metadata=table.metadata, df=rows, io=io or table.io, write_uuid=uuid.uuid4()
        )
    )


@contextmanager
def committed(table: Table, outputs: Outputs | None = None, producer: Any = None) -> Iterator[None]:
    """What a commit can run into, as errors of ours: see ``commit``.

    What it wrote to ``outputs`` is removed if it surely did not take place; one of ``producer``
    whose answer was lost is looked for, and if it is there, all is well.
    """
    try:
        yield
    except (CommitFailedException, ValidationException) as error:
        if outputs is not None:
            outputs.undo()
        raise CommitConflict(
            f"{name_of(table)}: another writer committed first ({error})"
        ) from error
    except FAULTS as error:
        settle(table, error, outputs, producer)


def retry_conflicts(step: Callable[P, R]) -> Callable[P, R]:
    """Do ``step`` again from the start when another writer committed first, at most 8 times."""

    def attempt(*args: P.args, **kwargs: P.kwargs) -> R:
        for tried in range(1, ATTEMPTS):
            try:
                return step(*args, **kwargs)
            except CommitConflict:
                time.sleep(random.uniform(0, 0.05 * 2**tried))
        return step(*args, **kwargs)

    attempt.__name__, attempt.__doc__ = step.__name__, step.__doc__
    return attempt


def _summary(
    mode: Mode,
    days: Iterable[date],
    sources: Mapping[str, Consumed] | None,
    figures: Mapping[str, object] | None,
    extra: Mapping[str, str] | None,
) -> dict[str, str]:
    summary = {MODE: mode.value, DAYS: json.dumps(sorted(d.isoformat() for d in days))}
    if sources is not None:
        summary[SOURCES] = json.dumps({k: v.to_json() for k, v in sources.items()})
    if figures is not None:
        summary[FIGURES] = json.dumps(dict(figures))
    return summary | dict(extra or {})


def _require_declared(
    table: Table, sources: Mapping[str, Consumed], extra: Mapping[str, str]
) -> None:
    """Expiry goes by what is declared: what a commit follows or carries must be known to it."""
    if undeclared := sources.keys() - set(table_def(name_of(table)).made_from):
        raise ValueError(f"{name_of(table)} is not declared to be made from {sorted(undeclared)}")
    if unknown := extra.keys() - PROGRESS - OF_A_COMMIT:
        raise ValueError(f"k2_lake.history does not say what {sorted(unknown)} tell of")


def _require_kept(transaction: Transaction, snapshots: Iterable[int]) -> None:
    kept: Any = _StillKept(snapshot_ids=frozenset(snapshots))
    transaction._requirements += (kept,)


def _in_order(transaction: Transaction, table: Table) -> None:
    """Let the snapshot's time be later than its parent's, whatever the clock says.

    Iceberg's readers in Java refuse a table whose times go back by more than a minute, and reading
    as of a time needs one order. So after a clock was set back, times follow by a millisecond each.
    """
    head = table.current_snapshot()
    if head is None:
        return
    earliest = head.timestamp_ms + 1
    transaction._updates = tuple(
        update.model_copy(
            update={"snapshot": update.snapshot.model_copy(update={"timestamp_ms": earliest})}
        )
        if isinstance(update, AddSnapshotUpdate) and update.snapshot.timestamp_ms < earliest
        else update
        for update in transaction._updates
    )
