"""Rows as text: a table to read, CSV (RFC 4180), JSON (an array of objects), or an Arrow stream.

Decimals are exact and in plain notation, strings in JSON. Instants are ISO 8601 in UTC with
microseconds and Z, times without a zone the same without Z, dates ISO 8601, binary values
lower-case hex. In CSV a null is an empty field and an empty text is ``""``; lists, maps and structs
are JSON there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import IOBase
from math import isfinite
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

import msgspec
import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from k2_market.errors import UsageError

if TYPE_CHECKING:
    from k2_lake.read_sql import SqlResult

SHOWN_ROWS = 50
# DuckDB's integers that Arrow can only carry as decimals.
INTEGERS = {"HUGEINT", "UHUGEINT"}
JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def write_csv(result: SqlResult, out: TextIO) -> None:
    """All rows, after a header line; lines end with CR LF."""
    out.write(",".join(map(_csv_field, result.schema.names)) + "\r\n")
    for row in _rows(result):
        line = ",".join("" if v is None else _csv_field(_text(v)) for v in row)
        # A line of one null would be an empty line, which readers skip.
        out.write((line or '""') + "\r\n")


def write_json(result: SqlResult, out: TextIO) -> None:
    """All rows as one array, an object a line."""
    names = _distinct(result.schema.names)
    before = "[\n"
    for row in _rows(result):
        out.write(before + msgspec.json.encode(dict(zip(names, row, strict=True))).decode())
        before = ",\n"
    out.write("[]\n" if before == "[\n" else "\n]\n")


def write_arrow(result: SqlResult, out: BinaryIO) -> None:
    """All rows as an Arrow IPC stream; HUGEINT is decimal128(38, 0)."""
    with pa.ipc.new_stream(cast("IOBase", out), result.schema) as stream:
        for batch in result.batches:
            stream.write_batch(batch)


def write_table(result: SqlResult, out: TextIO) -> None:
    """The first rows for reading, and how many there are; a block per row if it is too wide."""
    shown: list[list[str]] = []
    count = 0
    for row in _rows(result, parse=SHOWN_ROWS):
        count += 1
        if row:
            shown.append(["" if v is None else _text(v) for v in row])
    columns = {
        name: _is_number(t)
        for name, t in zip(_distinct(result.schema.names), result.schema.types, strict=True)
    }
    total = f"{count:,} row{'' if count == 1 else 's'}"
    if count > len(shown):
        total = f"{len(shown)} of {total}; --format csv, json or arrow gives all"
    print_cells(columns, shown, total, out)


def print_cells(
    columns: Mapping[str, bool], rows: Sequence[Sequence[str]], below: str, out: TextIO
) -> None:
    """A table, or a block per row if it is too wide; ``columns``: by name whether it is numbers."""
    console = Console(file=out, highlight=False, markup=False, emoji=False)
    table = Table()
    for name, is_number in columns.items():
        table.add_column(Text(name), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    width = Console(width=100_000).measure(table).maximum
    if console.is_terminal and width > console.width:
        _write_blocks(list(columns), rows, console)
    else:
        console.width = max(console.width, width)
        console.print(table)
    console.print(below)


def cell(value: object) -> str:
    """A value as the text of a table's cell; nothing where it is None."""
    return "" if value is None else _text(_json_value(value))


def _write_blocks(names: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    indent = max(map(len, names))
    for number, row in enumerate(rows, 1):
        console.rule(f"row {number}", align="left")
        for name, value in zip(names, row, strict=True):
            console.print(f"{name:<{indent}}  {value}")


def _rows(result: SqlResult, parse: int | None = None) -> Iterator[list[JsonValue]]:
    """The rows as JSON values; beyond ``parse`` rows, empty lists that only count."""
    converters = [_integer if t in INTEGERS else _json_value for t in result.types]
    done = 0
    for batch in result.batches:
        take = batch.num_rows if parse is None else min(batch.num_rows, max(parse - done, 0))
        parts = zip(batch.slice(0, take).columns, result.schema.names, converters, strict=True)
        columns = [_column(values, name, convert) for values, name, convert in parts]
        for values in zip(*columns, strict=True):
            yield list(values)
        for _ in range(batch.num_rows - take):
            yield []
        done += batch.num_rows


def _column(
    values: pa.Array[Any], name: str, convert: Callable[[object], JsonValue]
) -> list[JsonValue]:
    if pa.types.is_timestamp(values.type) and values.type.unit == "ns":
        return _nanoseconds(values)
    try:
        return [convert(v) for v in values.to_pylist(maps_as_pydicts="strict")]
    except (OverflowError, ValueError, KeyError) as error:
        raise UsageError(
            f"column {name!r} holds a value that has no text form here: {error}. "
            "Cast it to varchar."
        ) from error


def _nanoseconds(values: pa.Array[Any]) -> list[JsonValue]:
    micros: list[Any] = values.cast(pa.timestamp("us"), safe=False).to_pylist()
    rest = [None if v is None else v % 1000 for v in values.cast(pa.int64()).to_pylist()]
    return [
        None if m is None else f"{m.isoformat(timespec='microseconds')}{r:03d}"
        for m, r in zip(micros, rest, strict=True)
    ]


def _integer(value: object) -> JsonValue:
    return None if value is None else int(str(value))


def _json_value(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if isfinite(value) else str(value)
        case Decimal():
            return format(value, "f")
        case datetime():
            return _instant(value)
        case date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case dict():
            return {_text(_json_value(k)): _json_value(v) for k, v in value.items()}
        case list() | set():
            return [_json_value(v) for v in value]
    return str(value)


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(timespec="microseconds")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _csv_field(text: str) -> str:
    if text and not any(c in text for c in '",\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _distinct(names: list[str]) -> list[str]:
    """The names, a repeated one with its position: an object cannot hold the same key twice."""
    return [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names, 1)]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
