"""Rows are the records: same fields, same order, same types."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import fields

from k2_api.reading.candle_set import FILLED_ROW
from k2_client import rows
from k2_client.rows import Row, Trade, narrowed
from k2_market.conditions import DAY_CONDITION
from k2_market.errors import UnknownName
from k2_market.klines import RECONCILIATION
from k2_market.listing import INSTRUMENT
from k2_market.records import GAP, QUOTE, REJECTED, TRADE, Record

RECORDS = (TRADE, QUOTE, FILLED_ROW, GAP, DAY_CONDITION, RECONCILIATION, REJECTED, INSTRUMENT)


def python_type(kind: pa.DataType) -> Any:
    if pa.types.is_decimal(kind):
        return Decimal
    if pa.types.is_list(kind):
        return list[python_type(kind.value_type)]  # type: ignore[misc]
    if pa.types.is_map(kind):
        return dict[str, python_type(kind.item_type)]  # type: ignore[misc]
    return {
        pa.string(): str,
        pa.binary(): bytes,
        pa.bool_(): bool,
        pa.int32(): int,
        pa.int64(): int,
        pa.date32(): date,
        pa.timestamp("us", tz="UTC"): datetime,
    }[kind]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_a_row_has_the_fields_of_its_record(record: Record) -> None:
    row = getattr(rows, record.name)
    expected = {
        f.name: python_type(f.type) | None if f.nullable else python_type(f.type)
        for f in record.schema
    }
    assert [f.name for f in fields(row)] == list(expected)
    # What only answers have, and not all of them, need not be there.
    optional = {f.name: f.type for f in fields(row) if not f.required}
    assert optional in ({}, {"final": bool | None, "filled": bool})
    assert {f.name: f.type for f in fields(row)} == expected | optional


def test_every_row_is_of_a_record() -> None:
    assert {c.__name__ for c in Row.__subclasses__()} >= {r.name for r in RECORDS}
    made = {c for c in vars(rows).values() if isinstance(c, type) and issubclass(c, Row)}
    assert made == {Row, *(getattr(rows, r.name) for r in RECORDS)}


def test_a_row_of_chosen_fields_has_them_alone_and_a_wrong_one_is_named() -> None:
    row = narrowed(Trade, ["price", "timestamp"])
    assert [(f.name, f.type) for f in fields(row)] == [("price", Decimal), ("timestamp", datetime)]
    with pytest.raises(UnknownName, match=r"unknown field 'prize'. Known: .*price"):
        narrowed(Trade, ["prize"])
