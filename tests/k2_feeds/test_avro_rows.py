"""Rows come back out of Avro as they went in, whatever they hold."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_feeds.typed.rows import AvroRows
from k2_market.avro import published_record
from k2_market.records import QUOTE, TRADE, Record

SCHEMA_ID = 0x01020304
_FIRST, _LAST = datetime(1970, 1, 1), datetime(2262, 4, 11)  # noqa: DTZ001
_INTEGERS = {pa.int32(): 32, pa.int64(): 64}
_TEXT = st.text(max_size=20)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value that a column of this type can hold."""
    if pa.types.is_decimal(kind):
        largest = 10**kind.precision - 1
        return st.integers(-largest, largest).map(lambda n: Decimal(n).scaleb(-kind.scale))
    if pa.types.is_list(kind):
        return st.lists(_TEXT, max_size=3)
    if pa.types.is_map(kind):
        return st.dictionaries(_TEXT, st.none() | _TEXT, max_size=3)
    if kind in _INTEGERS:
        half = 2 ** (_INTEGERS[kind] - 1)
        return st.integers(-half, half - 1)
    simple = {
        pa.string(): _TEXT,
        pa.bool_(): st.booleans(),
        pa.date32(): st.dates(_FIRST.date(), _LAST.date()),
        pa.timestamp("us", tz="UTC"): st.datetimes(_FIRST, _LAST, timezones=st.just(UTC)),
    }
    return simple[kind]


def rows(record: Record) -> st.SearchStrategy[dict[str, Any]]:
    cells = {f.name: values(f.type) for f in record.schema}
    absent = {f.name for f in record.schema if f.nullable}
    return st.fixed_dictionaries(
        {name: st.none() | cell if name in absent else cell for name, cell in cells.items()}
    )


@pytest.mark.parametrize("record", [TRADE, QUOTE], ids=lambda r: r.name)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_row_comes_back_with_the_same_digits_and_instants(
    record: Record, data: st.DataObject
) -> None:
    given_rows = data.draw(st.lists(rows(record), max_size=4))
    schema = published_record(record)
    table = pa.Table.from_pylist(given_rows, record.schema)
    messages = list(AvroRows(schema, SCHEMA_ID).encode(table))
    assert [m[:5] for m in messages] == [bytes([0, 1, 2, 3, 4])] * len(given_rows)
    parsed = fastavro.parse_schema(schema)
    names = [field["name"] for field in schema["fields"]]
    read = [fastavro.schemaless_reader(BytesIO(m[5:]), parsed, None) for m in messages]
    assert read == [{name: row[name] for name in names} for row in given_rows]


def test_a_short_row_after_a_long_one_has_nothing_of_it() -> None:
    record = TRADE
    row: dict[str, Any] = dict.fromkeys(record.schema.names)
    for field in record.schema:
        if not field.nullable:
            row[field.name] = _some(field.type)
    long = {**row, "vendor_data": {"k": "v" * 1000}}
    table = pa.Table.from_pylist([long, row], record.schema)
    schema = published_record(record)
    _, short = AvroRows(schema, 1).encode(table)
    (alone,) = AvroRows(schema, 1).encode(table.slice(1))
    assert short == alone


def _some(kind: Any) -> object:
    if pa.types.is_decimal(kind):
        return Decimal(1)
    if pa.types.is_timestamp(kind):
        return datetime(2024, 8, 8, tzinfo=UTC)
    if pa.types.is_date32(kind):
        return datetime(2024, 8, 8, tzinfo=UTC).date()
    return {pa.string(): "x", pa.bool_(): True}.get(kind, 1)
