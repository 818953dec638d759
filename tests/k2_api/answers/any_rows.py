"""Rows of any record, with the values that are easily lost: extremes, nulls, odd texts."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

TEXT = st.one_of(
    st.sampled_from(["", " ", ",", '"', "\n", "\r", 'a,"b"\r\n', "null", "NaN", "ü€😀", "\u2028"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)


def rows_of(schema: pa.Schema, most: int = 5) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Lists of rows as Python values, empty ones too."""
    return st.lists(st.fixed_dictionaries({f.name: _field(f) for f in schema}), max_size=most)


def batches_of(rows: list[dict[str, Any]], schema: pa.Schema, size: int) -> list[pa.RecordBatch]:
    """The rows in batches of that size."""
    return pa.Table.from_pylist(rows, schema=schema).to_batches(max_chunksize=size)


def as_text(value: Any) -> Any:
    """What JSON holds of a value, decoded."""
    match value:
        case Decimal():
            return f"{value:f}"
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
        case date():
            return value.isoformat()
        case [(_, _), *_]:
            return dict(value)
    return value


def _field(field: pa.Field[Any]) -> st.SearchStrategy[Any]:
    values = _values(field.type)
    return st.none() | values if field.nullable else values


def _values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_decimal(kind):
        most = 10**kind.precision - 1
        edges = st.sampled_from([0, 1, -1, most, -most, 10**kind.scale])
        return (edges | st.integers(-most, most)).map(lambda n: _decimal(n, kind.scale))
    if pa.types.is_list(kind):
        return st.lists(TEXT, max_size=3)
    if pa.types.is_map(kind):
        return st.dictionaries(TEXT, TEXT, min_size=1, max_size=3).map(lambda d: list(d.items()))
    return {
        pa.string(): TEXT,
        pa.binary(): st.binary(max_size=12),
        pa.bool_(): st.booleans(),
        pa.int32(): st.integers(-(2**31), 2**31 - 1),
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.date32(): st.dates(),
        pa.timestamp("us", tz="UTC"): st.datetimes(timezones=st.just(UTC)),
    }[kind]


def _decimal(unscaled: int, scale: int) -> Decimal:
    sign, digits = (1 if unscaled < 0 else 0), tuple(map(int, str(abs(unscaled))))
    return Decimal((sign, digits, -scale))
