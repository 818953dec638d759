"""Rows as text, made by DuckDB: one JSON object or one line of CSV for each.

Decimals are in plain notation with their full scale, instants in ISO 8601 with microseconds and Z,
and so alike in JSON and CSV; bytes are in base64. An empty field of CSV is null and ``""`` an empty
text; its lists and maps are JSON texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import duckdb
import pyarrow as pa

# Text is some 500 bytes a row: steps of this size keep what is in memory at a few megabytes.
STEP_ROWS = 8_192
LIMITS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "256MB",
    "enable_external_access": False,
}
_QUOTED = """[",\\r\\n]"""


def row_json(schema: pa.Schema) -> str:
    """The SQL that makes a row one JSON object, decimals and times as text, nothing rounded."""
    fields = ", ".join(f"'{f.name}': {_json_value(f.name, f.type)}" for f in schema)
    return f"to_json({{{fields}}})"


def row_csv(schema: pa.Schema) -> str:
    """The SQL that makes a row one line of CSV, without its end."""
    fields = ", ".join(f"coalesce({_csv_value(f.name, f.type)}, '')" for f in schema)
    return f"concat_ws(',', {fields})"


def csv_header(schema: pa.Schema) -> bytes:
    """The first line of CSV: the names of the columns."""
    return ",".join(schema.names).encode() + b"\n"


def lines(batches: Iterable[pa.RecordBatch], row: str) -> Iterator[memoryview]:
    """The text of the rows, each made by the SQL ``row`` and ended by a newline."""
    cursor = _database().cursor()
    try:
        for batch in batches:
            for first in range(0, batch.num_rows, STEP_ROWS):
                step = cursor.from_arrow(batch.slice(first, STEP_ROWS))
                made = step.project(f"{row} || chr(10) as line").to_arrow_table()
                yield from map(_text, made["line"].chunks)
    finally:
        cursor.close()


def json_texts(rows: pa.Table) -> list[str]:
    """Each row as one JSON object."""
    made = b"".join(lines(rows.to_batches(), row_json(rows.schema)))
    # A line has no newline within: JSON writes it as \\n.
    return made.decode().split("\n")[:-1]


def _text(column: pa.Array[pa.StringScalar]) -> memoryview:
    """The texts behind one another: Arrow holds them so, and nothing needs to be copied."""
    _, offsets, text = column.buffers()
    if offsets is None or text is None:
        return memoryview(b"")
    ends = memoryview(offsets).cast("i")
    return memoryview(text)[ends[column.offset] : ends[column.offset + len(column)]]


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """A database that only turns rows into text: it reaches no file."""
    database = duckdb.connect(":memory:", config=LIMITS)
    database.execute("set timezone = 'UTC'")
    return database


def _json_value(column: str, kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"{column}::varchar"
    if pa.types.is_timestamp(kind):
        return _instant(column)
    return _base64(column) if pa.types.is_binary(kind) else column


def _csv_value(column: str, kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return _instant(column)
    if pa.types.is_nested(kind):
        return _quoted(f"to_json({column})::varchar")
    if pa.types.is_binary(kind):
        return _quoted(_base64(column))
    return _quoted(column) if pa.types.is_string(kind) else f"{column}::varchar"


def _instant(column: str) -> str:
    return f"strftime({column}::timestamp, '%Y-%m-%dT%H:%M:%S.%fZ')"


def _base64(column: str) -> str:
    return f"to_base64({column})"


def _quoted(text: str) -> str:
    """The text in quotes where it could be misread without."""
    doubled = f"""'"' || replace({text}, '"', '""') || '"'"""
    misread = f"{text} = '' or regexp_matches({text}, '{_QUOTED}')"
    return f"case when {misread} then {doubled} else {text} end"
