"""Rows that are held in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_lake.commit import written_files
from k2_lake.outcome import Outputs

if TYPE_CHECKING:
    from k2_lake.engine import Engine, Input


@dataclass(frozen=True)
class InMemory:
    """See ``Held``: an Arrow table, whichever engine made it."""

    held: pa.Table

    @property
    def columns(self) -> list[str]:
        """See ``Held``."""
        return self.held.column_names

    @property
    def rows(self) -> int:
        """See ``Held``."""
        return self.held.num_rows

    def once(self, engine: Engine, sql: str, key: Sequence[str], schema: pa.Schema) -> InMemory:
        """See ``Held``."""
        # A window over all rows costs more than all else here, and repeats are rare.
        keys = self.held.select(list(key)).group_by(list(key)).aggregate([])
        repeated = keys.num_rows < self.rows
        return self.then(engine, sql, {"incoming": self}, schema) if repeated else self

    def beginning(self, column: str, prefix: str) -> int:
        """See ``Held``."""
        mask: Any = pc.starts_with(self.held[column], prefix)
        return int(pc.sum(mask, min_count=0).as_py())

    def then(
        self, engine: Engine, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> InMemory:
        """See ``Held``."""
        return InMemory(engine.query(sql, inputs, schema))

    def kept(self) -> InMemory:
        """See ``Held``."""
        return self

    def table(self) -> pa.Table:
        """See ``Held``."""
        return self.held

    def written(self, table: Table, outputs: Outputs) -> list[DataFile]:
        """See ``Held``; they stand as their statement ordered them."""
        return written_files(table, self.held, outputs)
