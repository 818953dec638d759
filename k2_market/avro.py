"""Records as Avro: the schema of a record for consumers outside K2, and whether one reads another.

Derived from the Arrow schema, so the record in ``records`` stays the one definition. Decimals are
``bytes`` with the logical type ``decimal``, instants ``timestamp-micros``, days ``date``; what may
be absent is a union with null, whose default is null (Avro 1.12, Specification).
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from k2_market.errors import InvariantBroken
from k2_market.records import Record

NAMESPACE = "k2.market"

Json = Any
_PRIMITIVES: dict[pa.DataType, Json] = {
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.string(): "string",
    pa.binary(): "bytes",
    pa.date32(): {"type": "int", "logicalType": "date"},
    pa.timestamp("us", tz="UTC"): {"type": "long", "logicalType": "timestamp-micros"},
}
_WIDER = {("long", "int")}


def published_schema(record: Record) -> pa.Schema:
    """The columns of the record that consumers outside K2 are given, in order.

    All but the days that K2's tables are partitioned by, and the topic's life as bronze counts it.
    """
    internal = {"epoch", "ingest_date", record.day}
    return pa.schema([field for field in record.schema if field.name not in internal])


def avro_schema(name: str, doc: str, schema: pa.Schema) -> dict[str, Json]:
    """The Avro record of an Arrow schema. Raises InvariantBroken for a type without a rule here."""
    fields = [_field(field) for field in schema]
    return {"type": "record", "name": name, "namespace": NAMESPACE, "doc": doc, "fields": fields}


def published_record(record: Record) -> dict[str, Json]:
    """The Avro schema of what is published of a record."""
    return avro_schema(record.name, record.doc, published_schema(record))


def unreadable(reader: Json, writer: Json) -> list[str]:
    """Why records of the schema ``writer`` cannot be read by the schema ``reader``; [] if they can.

    Stricter than a Schema Registry in one thing: these look at Avro's types alone, so that to them
    a decimal of another scale is the same bytes, and all old prices would be read wrongly.
    """
    if _full_name(reader) != _full_name(writer):
        return [f"the record is named {_full_name(reader)}, and was {_full_name(writer)}"]
    written = {field["name"]: field for field in writer["fields"]}
    found = []
    for field in reader["fields"]:
        name = field["name"]
        if name not in written:
            found += [] if "default" in field else [f"the field {name} is new and has no default"]
        elif not _reads(field["type"], written[name]["type"]):
            found.append(
                f"the field {name} is {_shown(field['type'])}, and was "
                f"{_shown(written[name]['type'])}"
            )
    return found


def _field(field: pa.Field[Any]) -> dict[str, Json]:
    doc = (field.metadata or {}).get(b"doc", b"").decode()
    found: dict[str, Json] = {"name": field.name, "type": _type(field)}
    if field.nullable:
        found["default"] = None
    return {**found, "doc": doc} if doc else found


def _type(field: pa.Field[Any]) -> Json:
    plain = _plain_type(field.type)
    return ["null", plain] if field.nullable else plain


def _plain_type(kind: Any) -> Json:
    if pa.types.is_decimal(kind):
        decimal = {"precision": kind.precision, "scale": kind.scale}
        return {"type": "bytes", "logicalType": "decimal", **decimal}
    if pa.types.is_list(kind):
        return {"type": "array", "items": _type(kind.value_field)}
    if pa.types.is_map(kind) and kind.key_type == pa.string():
        return {"type": "map", "values": _type(kind.item_field)}
    if kind not in _PRIMITIVES:
        raise InvariantBroken(f"a column of {kind} has no Avro type: give it one in k2_market.avro")
    return _PRIMITIVES[kind]


def _reads(reader: Json, writer: Json) -> bool:
    if isinstance(writer, list):
        return all(_reads(reader, branch) for branch in writer)
    if isinstance(reader, list):
        return any(_reads(branch, writer) for branch in reader)
    new, old = _spelled(reader), _spelled(writer)
    for inner in ("items", "values"):
        if inner in new and inner in old:
            return _reads(new[inner], old[inner])
    return new == old or _is_wider(new, old)


def _is_wider(new: dict[str, Json], old: dict[str, Json]) -> bool:
    return new.keys() == old.keys() == {"type"} and (new["type"], old["type"]) in _WIDER


def _spelled(kind: Json) -> dict[str, Json]:
    return {"type": kind} if isinstance(kind, str) else dict(kind)


def _shown(kind: Json) -> str:
    if isinstance(kind, list):
        return " or ".join(map(_shown, kind))
    spelled = _spelled(kind)
    name = str(spelled.get("logicalType", spelled["type"]))
    if name == "decimal":
        return f"decimal({spelled['precision']}, {spelled.get('scale', 0)})"
    inner = spelled.get("items", spelled.get("values"))
    return name if inner is None else f"{name} of {_shown(inner)}"


def _full_name(schema: dict[str, Json]) -> str:
    return ".".join(filter(None, (schema.get("namespace"), schema["name"])))
