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
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
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
    RETAINED,
    SOURCES,
    Consumed,
    Mode,
    carried_value,
    lineage,
)
from k2_lake.tables import name_of
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
    Raises CommitConflict when another writer was first, LakeUnavailable when the catalog or the
    store failed: then either all of it is visible or nothing.
    """
    summary = _carried(table) | _summary(mode, days, sources, figures, extra)
    removed = list(remove)
    written: list[DataFile] = []
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties=summary)
    try:
        for rows in add:
            if rows.num_rows:
                written += _dataframe_to_data_files(
                    table_metadata=table.metadata, df=rows, io=table.io, write_uuid=uuid.uuid4()
                )
        with update.overwrite() if removed else update.merge_append() as producer:
            for file in removed:
                producer.delete_data_file(file)
            for file in written:
                producer.append_data_file(file)
        transaction.commit_transaction()
    except (CommitFailedException, ValidationException) as error:
        _delete(table, written)
        raise CommitConflict(
            f"{name_of(table)}: another writer committed first ({error})"
        ) from error
    except (CommitStateUnknownException, SQLAlchemyError, OSError) as error:
        raise LakeUnavailable(
            f"{name_of(table)} could not be written: {error}. Run again when the catalog and the "
            "store are back: a commit that took place all the same is seen then and not repeated."
        ) from error
    return lineage(table)[0]


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


def _carried(table: Table) -> dict[str, str]:
    """What must be in the newest snapshot: whoever expires the older ones cannot lose it."""
    retained = carried_value(table, RETAINED)
    return {} if retained is None else {RETAINED: retained}


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


def _delete(table: Table, files: Iterable[DataFile]) -> None:
    """Remove files that no snapshot knows; what cannot be removed is an orphan for gc."""
    for file in files:
        with suppress(OSError):
            table.io.delete(file.file_path)
