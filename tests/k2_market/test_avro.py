"""Avro schemas are derived from records, and changes that old messages do not survive are seen."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import avro.compatibility
import avro.schema
import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_market.avro import avro_schema, published_record, unreadable
from k2_market.errors import InvariantBroken
from k2_market.records import QUOTE, TRADE

Schema = dict[str, Any]


def fields(schema: Schema) -> dict[str, Any]:
    return {field["name"]: field["type"] for field in schema["fields"]}


def changed(name: str, **change: object) -> Schema:
    """The trade's schema with one field changed."""
    schema = deepcopy(published_record(TRADE))
    (field,) = [f for f in schema["fields"] if f["name"] == name]
    field.update(change)
    return schema


def with_field(field: Schema) -> Schema:
    schema = published_record(TRADE)
    return {**schema, "fields": [*schema["fields"], field]}


def test_a_trade_is_exact_in_avro() -> None:
    found = fields(published_record(TRADE))
    decimal = {"type": "bytes", "logicalType": "decimal", "scale": 8}
    assert found["price"] == {**decimal, "precision": 18}
    assert found["quantity"] == {**decimal, "precision": 28}
    assert found["timestamp"] == {"type": "long", "logicalType": "timestamp-micros"}
    assert found["trade_conditions"] == ["null", {"type": "array", "items": "string"}]
    assert found["vendor_data"] == ["null", {"type": "map", "values": ["null", "string"]}]
    assert found["symbol"] == "string"


@pytest.mark.parametrize("record", [TRADE, QUOTE], ids=lambda r: r.name)
def test_every_field_keeps_its_doc_and_what_may_be_absent_defaults_to_null(record: Any) -> None:
    schema = published_record(record)
    fastavro.parse_schema(schema)
    assert schema["doc"] == record.doc
    for field in schema["fields"]:
        column = record.schema.field(field["name"])
        assert field["doc"] == column.metadata[b"doc"].decode()
        assert ("default" in field) == column.nullable
        assert field.get("default") is None


@pytest.mark.parametrize("record", [TRADE, QUOTE], ids=lambda r: r.name)
def test_consumers_get_the_raw_coordinates_and_not_k2s_partitioning(record: Any) -> None:
    left_out = set(record.columns) - fields(published_record(record)).keys()
    assert left_out == {"epoch", record.day, "ingest_date"}


def test_a_type_without_a_rule_is_refused() -> None:
    with pytest.raises(InvariantBroken, match="double has no Avro type"):
        avro_schema("Odd", "", pa.schema([pa.field("x", pa.float64())]))


def test_a_record_reads_itself() -> None:
    assert unreadable(published_record(TRADE), published_record(TRADE)) == []


def test_a_new_field_needs_a_default() -> None:
    venue = {"name": "venue", "type": "string"}
    reason = "the field venue is new and has no default"
    assert unreadable(with_field(venue), published_record(TRADE)) == [reason]
    nullable = {"name": "venue", "type": ["null", "string"], "default": None}
    assert unreadable(with_field(nullable), published_record(TRADE)) == []


def test_a_field_that_went_is_not_missed() -> None:
    assert unreadable(published_record(TRADE), with_field({"name": "x", "type": "int"})) == []


def test_a_decimal_of_another_scale_is_another_type() -> None:
    other = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 10}
    reason = "the field price is decimal(18, 10), and was decimal(18, 8)"
    assert unreadable(changed("price", type=other), published_record(TRADE)) == [reason]


def test_a_field_may_become_nullable_or_wider_and_not_the_reverse() -> None:
    nullable = changed("side", type=["null", "string"], default=None)
    wider = changed("frame_index", type="long")
    trade = published_record(TRADE)
    assert unreadable(nullable, trade) == unreadable(wider, trade) == []
    assert unreadable(trade, nullable) == ["the field side is string, and was null or string"]
    assert unreadable(trade, wider) == ["the field frame_index is int, and was long"]


def test_another_name_is_another_record() -> None:
    other = {**published_record(TRADE), "name": "Print"}
    reason = "the record is named k2.market.Print, and was k2.market.Trade"
    assert unreadable(other, published_record(TRADE)) == [reason]


TYPES = st.recursive(
    st.sampled_from(["int", "long", "string", "bytes", "boolean"])
    | st.sampled_from(["date", "timestamp-micros"]).map(
        lambda name: {"type": "int" if name == "date" else "long", "logicalType": name}
    )
    | st.integers(1, 3).map(
        lambda scale: {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale}
    ),
    lambda inner: (
        st.builds(lambda kind: {"type": "array", "items": kind}, inner)
        | st.builds(lambda kind: {"type": "map", "values": kind}, inner)
    ),
    max_leaves=3,
)


@st.composite
def records(draw: st.DrawFn) -> Schema:
    found = []
    for name in draw(st.lists(st.sampled_from("abc"), unique=True)):
        kind, nullable = draw(TYPES), draw(st.booleans())
        found.append(
            {"name": name, "type": ["null", kind], "default": None}
            if nullable
            else {"name": name, "type": kind}
        )
    return {"type": "record", "name": "R", "namespace": "k2.market", "fields": found}


@given(records(), records())
def test_whatever_avro_itself_refuses_is_refused(new: Schema, old: Schema) -> None:
    checker = avro.compatibility.ReaderWriterCompatibilityChecker()
    parsed = [avro.schema.make_avsc_object(deepcopy(schema)) for schema in (new, old)]
    verdict = checker.get_compatibility(*parsed).compatibility
    if verdict is avro.compatibility.SchemaCompatibilityType.incompatible:
        assert unreadable(new, old) != []
