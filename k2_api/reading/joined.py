"""Rows of a table and of the tail as one answer, each key once.

The table's page is read as if there were no tail. Only where the tail has something in the reach
of that page which the table lacks, it is read of both: most pages end before the tail begins, and
pay nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_api.reading.asked import Asked
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import plan

# The columns that tell a row's place, by name.
Key = Mapping[str, object]

# An exchange that states no time has its repeats a moment apart.
_REPEATED_WITHIN = timedelta(seconds=2)


def counted(reader: LakeReader, asked: Asked) -> int:
    """How many rows of the question the tail has and the table lacks."""
    newer = newer_rows(reader, asked)
    return 0 if newer is None else newer.num_rows


def newer_rows(reader: LakeReader, asked: Asked, last: Key | None = None) -> pa.Table | None:
    """The rows of the question that the tail has and the table lacks; None where none can be.

    With ``last``, the key of the last row of a page, those that may stand on that page.
    """
    near = _near(asked, last)
    return None if near is None or not near.num_rows else lacking(reader, asked, near)


def lacking(reader: LakeReader, asked: Asked, tail: pa.Table) -> pa.Table:
    """Those rows of the tail that the table does not have."""
    first, last = _bounds(tail)
    around = replace(asked, start=first - _REPEATED_WITHIN, end=last + _REPEATED_WITHIN, after=None)
    files = plan(reader, around)
    if not files.files:
        return tail
    key = ", ".join(asked.dataset.record.key)
    sql = (
        f"select * from {{tail}} anti join (select {key} from {{rows}}"
        f" where timestamp >= $first and timestamp < $last) using ({key})"
    )
    values = {"first": around.start, "last": around.end}
    found = reader.arrow(sql, {"rows": files, "tail": tail}, values, asked.table)
    return found.select(tail.column_names).cast(tail.schema)


def _near(asked: Asked, last: Key | None) -> pa.Table | None:
    """The rows of the tail that may stand before that key; None where there is no tail."""
    if asked.tail is None:
        return None
    start, end = asked.start, asked.end
    if last is not None and asked.one_instrument:
        at = last[str(asked.dataset.time)]
        if isinstance(at, datetime):
            start, end = (at, end) if asked.descending else (start, _behind(at))
    return asked.tail.rows(asked.symbols or None, start, end)


def _behind(at: datetime) -> datetime:
    return at + timedelta(microseconds=1)


def _bounds(rows: pa.Table) -> tuple[datetime, datetime]:
    found: Any = pc.min_max(rows["timestamp"]).as_py()
    return found["min"], found["max"]
