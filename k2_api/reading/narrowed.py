"""Of planned files those that may hold rows of a question, by what the metadata says of each.

Bounds are compared as Iceberg writes them (its specification, "Single-value serialization"):
instants as eight bytes, the lowest first, and texts in UTF-8, whose order is that of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_api.reading.asked import Asked
from k2_lake.scan import Files

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def narrowed(
    files: Files, table: Table, asked: Asked, start: datetime | None, end: datetime | None
) -> Files:
    """The files that may have rows of the question's instruments in [start, end)."""
    ids = {field.name: field.field_id for field in table.schema().fields}
    names = [
        (ids[column], [name.encode() for name in wanted])
        for column, wanted in (("exchange", asked.exchanges), ("symbol", asked.symbols))
        if wanted
    ]
    time = ids[str(asked.dataset.time)]
    first = None if start is None else (start - _EPOCH) // _MICROSECOND
    until = None if end is None else (end - _EPOCH) // _MICROSECOND
    return files.only(
        file
        for file in files.files
        if all(_may_name(file, column, wanted) for column, wanted in names)
        and _may_reach(file, time, first, until)
    )


def _may_name(file: DataFile, column: int, wanted: Sequence[bytes]) -> bool:
    low, high = _bounds(file, column)
    return any((low is None or low <= name) and (high is None or name <= high) for name in wanted)


def _may_reach(file: DataFile, column: int, first: int | None, until: int | None) -> bool:
    low, high = _bounds(file, column)
    after = first is None or high is None or first <= _micros(high)
    return after and (until is None or low is None or _micros(low) < until)


def _bounds(file: DataFile, column: int) -> tuple[bytes | None, bytes | None]:
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    return lower.get(column), upper.get(column)


def _micros(bound: bytes) -> int:
    return int.from_bytes(bound, "little", signed=True)
