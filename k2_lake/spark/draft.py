"""A table of a draft: some files of a table that procedures may commit to, and nobody else sees.

A procedure of Iceberg commits by itself, and what it commits does not say how far the table is. So
it never gets the table: it gets a draft, an entry of its own in the catalog with the table's schema
and place, but with these files alone, and the new files are committed by K2. The draft's metadata
stays behind in the table's folder, reached by nothing, for gc.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import DataFile
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table, TableProperties

from k2_lake.catalog import Lake
from k2_lake.faults import DAMAGED, opening
from k2_lake.spark.written import NO_HISTORY
from k2_lake.tables import PROPERTIES, name_of

NAMESPACE = "drafts"
# Whoever made a draft has ended by then, killed before it could remove it.
LEFT_BEHIND = timedelta(days=1)

# Nothing that is done to a draft may delete a file of the table.
_HARMLESS = {"gc.enabled": "false", "write.metadata.delete-after-commit.enabled": "false"}
_PER_GROUP = TableProperties.PARQUET_ROW_GROUP_LIMIT


@contextmanager
def draft(lake: Lake, table: Table, files: Iterable[DataFile]) -> Iterator[str]:
    """The name of a draft of ``table`` with these files, as long as the block lasts.

    Raises LakeUnavailable where the catalog or the store do not answer.
    """
    name = f"{NAMESPACE}.{name_of(table).replace('.', '_')}_{uuid.uuid4().hex}"
    with opening(name):
        lake.catalog.create_namespace_if_not_exists(NAMESPACE)
        _remove_left_behind(lake)
        made = lake.catalog.register_table(name, _metadata(table))
    try:
        with opening(name):
            _fill(made, files)
        yield name
    finally:
        with opening(name):
            lake.catalog.drop_table(name)


def files_of_draft(lake: Lake, name: str) -> list[DataFile]:
    """The files that the draft now has. Raises LakeUnavailable."""
    with opening(name):
        return [task.file for task in lake.catalog.load_table(name).scan().plan_files()]


def _metadata(table: Table) -> str:
    """Where the first metadata of the draft was written."""
    properties = {**table.metadata.properties, **_HARMLESS, **_row_groups(table)}
    fresh = {"table_uuid": uuid.uuid4(), "properties": properties}
    metadata = table.metadata.model_copy(update={**NO_HISTORY, **fresh})
    location = f"{table.location()}/metadata/00000-{uuid.uuid4()}.metadata.json"
    ToOutputFile.table_metadata(metadata, table.io.new_output(location))
    return location


def _row_groups(table: Table) -> dict[str, str]:
    """The table's rows per row group, as Iceberg's own writer is made to keep to them.

    It knows only bytes, which it looks at after so many rows, and one byte is always exceeded.
    """
    rows = table.properties.get(_PER_GROUP, PROPERTIES[_PER_GROUP])
    return {
        "write.parquet.row-group-size-bytes": "1",
        "write.parquet.row-group-check-min-record-count": rows,
        "write.parquet.row-group-check-max-record-count": rows,
    }


def _fill(made: Table, files: Iterable[DataFile]) -> None:
    transaction = made.transaction()
    with transaction.update_snapshot().fast_append() as update:
        for file in files:
            update.append_data_file(file)
    transaction.commit_transaction()


def _remove_left_behind(lake: Lake) -> None:
    for identifier in lake.catalog.list_tables(NAMESPACE):
        with suppress(NoSuchTableError):
            if _is_left_behind(lake, identifier):
                lake.catalog.drop_table(identifier)


def _is_left_behind(lake: Lake, identifier: tuple[str, ...]) -> bool:
    try:
        last = lake.catalog.load_table(identifier).metadata.last_updated_ms
    except (FileNotFoundError, *DAMAGED):
        # gc has had its metadata already.
        return True
    oldest = datetime.now(UTC) - LEFT_BEHIND
    return last < oldest.timestamp() * 1000
