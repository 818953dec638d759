"""Iceberg's procedures on Spark: they do the work of maintenance, and K2 keeps its guards.

Which files are put together, which snapshots may go and which files are garbage is decided where it
is for every engine; see ``k2_lake/maintenance``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_lake.catalog import CATALOG_NAME, Lake
from k2_lake.scan import Files
from k2_lake.spark.draft import draft, files_of_draft
from k2_lake.spark.engine import SparkEngine, in_spark
from k2_lake.tables import name_of
from k2_market.errors import CommitConflict, LakeUnavailable

if TYPE_CHECKING:
    from pyspark.sql import Row

# They were chosen so that together they are no larger than one file may be.
_REWRITE = """
call {catalog}.system.rewrite_data_files(table => '{table}', strategy => 'sort',
  sort_order => '{order}',
  options => map('rewrite-all', 'true', 'target-file-size-bytes', '1073741824'))
"""
# Those with an id go, and none for its age: else whatever is older than five days would, too.
_EXPIRE = """
call {catalog}.system.expire_snapshots(table => '{table}', snapshot_ids => array({ids}),
  older_than => timestamp '1970-01-01 00:00:00')
"""
_REMOVE = """
call {catalog}.system.remove_orphan_files(table => '{table}', file_list_view => '{view}',
  older_than => timestamp_micros({before}L))
"""
_VIEW = "k2_garbage"
_OUTRUN = ("CommitFailedException", "Still referenced by refs")


class SparkProcedures:
    """See ``Procedures``: those of Iceberg's catalog in a session of Spark."""

    def __init__(self, engine: SparkEngine, lake: Lake) -> None:
        self._engine = engine
        self._lake = lake

    def rewritten(self, table: Table, files: Files, order: Sequence[str]) -> list[DataFile]:
        """See ``Procedures.rewritten``. Raises FileBroken, LakeUnavailable."""
        sorted_by = ", ".join(f"{column} asc nulls last" for column in order)
        with draft(self._lake, table, files.files) as name, in_spark({"old": files}, self._lake.io):
            self._call(_REWRITE, name, order=sorted_by)
            return files_of_draft(self._lake, name)

    def expire(self, table: Table, snapshots: Sequence[int]) -> None:
        """See ``Procedures.expire``. Raises CommitConflict, LakeUnavailable."""
        with _beside_others(table), in_spark({}, self._lake.io):
            self._call(_EXPIRE, name_of(table), ids=", ".join(map(str, snapshots)))

    def remove(self, table: Table, files: Mapping[str, datetime], before: datetime) -> set[str]:
        """See ``Procedures.remove``. Raises LakeUnavailable."""
        listed = pa.table(
            {
                "file_path": pa.array(list(files), pa.string()),
                "last_modified": pa.array(list(files.values()), pa.timestamp("us", "UTC")),
            }
        )
        micros = int(before.timestamp() * 1_000_000)
        with in_spark({}, self._lake.io):
            self._engine.session.createDataFrame(listed).createOrReplaceTempView(_VIEW)
            try:
                removed = self._call(_REMOVE, name_of(table), view=_VIEW, before=str(micros))
                return {row["orphan_file_location"] for row in removed}
            finally:
                self._engine.session.catalog.dropTempView(_VIEW)

    def _call(self, procedure: str, table: str, **arguments: str) -> list[Row]:
        sql = procedure.format(catalog=CATALOG_NAME, table=table, **arguments)
        found: list[Row] = self._engine.session.sql(sql).collect()
        return found


@contextmanager
def _beside_others(table: Table) -> Iterator[None]:
    """Raise CommitConflict where another writer came first, or named one of the snapshots."""
    try:
        yield
    except LakeUnavailable as error:
        if any(sign in str(error.__cause__) for sign in _OUTRUN):
            raise CommitConflict(f"{name_of(table)}: another writer committed first") from error
        raise
