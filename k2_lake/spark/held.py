"""Rows that stay with Spark's workers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, cast

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_lake.outcome import Outputs
from k2_lake.spark.written import Target, written_by_workers
from k2_lake.tables import name_of, table_def

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from k2_lake.engine import Engine, Held, Input

_HASH = "k2_hash"
# So many hashes of repeated keys, 16 bytes each, a worker holds beside what it works on.
_SENT_TO_ALL = 4_000_000


class OnWorkers:
    """See ``Held``: a data frame, computed anew from its files for whatever is asked of it.

    ``files`` are those that it is made of, ``most`` is a number of rows that it does not exceed;
    ``acting`` makes errors of ours of what Spark runs into.
    """

    def __init__(
        self,
        frame: DataFrame,
        files: Sequence[DataFile],
        most: int,
        acting: Callable[[], AbstractContextManager[None]],
        store: Mapping[str, str],
    ) -> None:
        self.frame = frame
        self.files = files
        self.most = most
        self._acting = acting
        self._store = store

    @property
    def columns(self) -> list[str]:
        """See ``Held``."""
        return list(self.frame.columns)

    @cached_property
    def rows(self) -> int:
        """See ``Held``."""
        with self._acting():
            return int(self.frame.count())

    def once(self, engine: Engine, sql: str, key: Sequence[str], schema: pa.Schema) -> Held:
        """See ``Held``. Only what may be a repeat is shuffled for it: a few rows of many.

        Keys are compared by their hashes first, so a row may be among them that is none.
        """
        from pyspark.sql.functions import broadcast, xxhash64

        hashed = self.frame.withColumn(_HASH, xxhash64(*key))
        counted = hashed.groupBy(_HASH).count()
        several = counted.where("count > 1").select(_HASH).persist()
        with self._acting():
            found = int(several.count())
        if not found:
            several.unpersist()
            return self
        beside = broadcast(several) if found <= _SENT_TO_ALL else several
        again = self._like(hashed.join(beside, _HASH, "left_semi").drop(_HASH))
        made = cast("OnWorkers", engine.held(sql, {"incoming": again}, schema))
        alone = hashed.join(beside, _HASH, "left_anti").drop(_HASH)
        once = self._like(alone.unionByName(made.frame))
        weakref.finalize(once, several.unpersist).atexit = False
        return once

    def beginning(self, column: str, prefix: str) -> int:
        """See ``Held``."""
        with self._acting():
            return int(self.frame.where(self.frame[column].startswith(prefix)).count())

    def then(
        self, engine: Engine, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> Held:
        """See ``Held``."""
        return engine.held(sql, inputs, schema)

    def kept(self) -> OnWorkers:
        """See ``Held``: workers keep them in memory and on their disks while this object lives.

        Those of a worker that is lost are made again.
        """
        kept = self._like(self.frame.persist())
        weakref.finalize(kept, kept.frame.unpersist).atexit = False
        return kept

    def table(self) -> pa.Table:
        """See ``Held``."""
        with self._acting():
            found: pa.Table = self.frame.toArrow()
        return found

    def written(self, table: Table, outputs: Outputs) -> list[DataFile]:
        """See ``Held``."""
        record = table_def(name_of(table)).record
        order = list(dict.fromkeys((*record.order, *record.key)))
        with self._acting():
            files = written_by_workers(
                self.frame, Target.of(table, self._store), order=order, rows=self.most
            )
        outputs.adopt(files)
        return files

    def _like(self, frame: DataFrame) -> OnWorkers:
        """Other rows that are made of the same files."""
        return OnWorkers(frame, self.files, self.most, self._acting, self._store)
