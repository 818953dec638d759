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
from contextlib import contextmanager, suppress
from datetime import date
from typing import ParamSpec, TypeVar

import pyarrow as pa
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ValidationException,
)
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy.exc import SQLAlchemyError

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
from k2_lake.tables import name_of, table_def
from k2_market.errors import CommitConflict, LakeUnavailable

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 8


def commit(
    table: Table,
    *,
    add: Iterable[pa.Table] = (),
    remove: Iterable[DataFile] = (),
    mode: Mode,
    days: Iterable[date],
    sources: Mapping[str, Consumed] | None = None,
    figures: Mapping[str, object] | None = None,
    extra: Mapping[str, str] | None = None,
) -> Snapshot:
    """Commit one snapshot to ``table``, which must be the object the work was planned on.

    ``add`` holds tables in the record's schema, each in the order its rows shall have; ``remove``
    names whole files. Removing and adding is one snapshot, so no reader ever sees the day empty.
    Progress that is not given, in ``sources`` or ``extra``, stays what it was.
    Raises CommitConflict when another writer was first, LakeUnavailable when the catalog or the
    store failed: then either all of it is visible or nothing.
    """
    _require_declared(table, sources or {}, extra or {})
    summary = progress(table) | _summary(mode, days, sources, figures, extra)
    removed = list(remove)
    written: list[DataFile] = []
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties=summary)
    try:
        with committed(table):
            for rows in add:
                written += written_files(table, rows)
            with update.overwrite() if removed else update.merge_append() as producer:
                for file in removed:
                    producer.delete_data_file(file)
                for file in written:
                    producer.append_data_file(file)
            transaction.commit_transaction()
    except CommitConflict:
        _delete(table, written)
        raise
    return lineage(table)[0]


def written_files(table: Table, rows: pa.Table) -> list[DataFile]:
    """The files written for these rows; nobody sees them before a commit adds them."""
    if not rows.num_rows:
        return []
    return list(
        _dataframe_to_data_files(
            table_metadata=table.metadata, df=rows, io=table.io, write_uuid=uuid.uuid4()
        )
    )


@contextmanager
def committed(table: Table) -> Iterator[None]:
    """What a commit can run into, as errors of ours: see ``commit``."""
    try:
        yield
    except (CommitFailedException, ValidationException) as error:
        raise CommitConflict(
            f"{name_of(table)}: another writer committed first ({error})"
        ) from error
    except (CommitStateUnknownException, SQLAlchemyError, OSError) as error:
        raise LakeUnavailable(
            f"{name_of(table)} could not be written: {error}. Run again when the catalog and the "
            "store are back: a commit that took place all the same is seen then and not repeated."
        ) from error


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


def _delete(table: Table, files: Iterable[DataFile]) -> None:
    """Remove files that no snapshot knows; what cannot be removed is an orphan for gc."""
    for file in files:
        with suppress(OSError):
            table.io.delete(file.file_path)
