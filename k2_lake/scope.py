"""What a check looks at and what it says: the rows of a tick or of a day, and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.history import Change, changes_since
from k2_lake.scan import Files, appended, of_day, planned
from k2_lake.tables import table_def

ROWS_AT_ONCE = 1_000_000

Figures = Mapping[str, int | str]


@dataclass(frozen=True)
class Verdict:
    """Whether figures agree, and the figures."""

    agrees: bool
    figures: Figures


def retired_verdict(dropped: str) -> Verdict:
    """Of a day that cannot be judged, for retention has dropped what it would be compared with."""
    return Verdict(True, {"retired": dropped})


@dataclass(frozen=True)
class Scope:
    """The rows to look at: those committed to ``table`` after ``since``, or all of ``day``."""

    table: str
    day: date
    since: int | None

    def changes(self, lake: Lake) -> list[Change]:
        """The commits in scope, oldest first; none when the whole day is."""
        return [] if self.since is None else changes_since(lake.table(self.table), self.since)

    def files(self, lake: Lake) -> Files:
        """The files in scope."""
        definition, table = table_def(self.table), lake.table(self.table)
        if self.since is None:
            return planned(table, definition.schema, of_day(definition.record.day, self.day))
        return appended(table, [c.snapshot for c in self.changes(lake)], definition.schema)

    def rows(self, lake: Lake, engine: Engine) -> Iterator[pa.Table]:
        """The rows in scope, in pieces that fit into memory."""
        files = self.files(lake)
        piece: list[int] = []
        for index in range(len(files.files)):
            piece.append(index)
            if sum(files.files[i].record_count for i in piece) >= ROWS_AT_ONCE or index + 1 == len(
                files.files
            ):
                part = files.only(files.files[i] for i in piece)
                yield engine.query("select * from part", {"part": part}, files.schema)
                piece = []
