"""What is sent in any format is, read back, exactly what was in the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_api.answers import columns, formats, row_text
from k2_api.answers.formats import Format, stream
from k2_market.records import CANDLE, QUOTE, REJECTED, TRADE
from tests.k2_api.answers.any_rows import as_text, batches_of, rows_of

END_OF_ARROW = b"\xff\xff\xff\xff\x00\x00\x00\x00"
SCHEMAS = [
    TRADE.schema,
    QUOTE.schema,
    CANDLE.schema,
    REJECTED.schema,
    pa.schema([TRADE.schema.field("price")]),
]


def sent(batches: list[pa.RecordBatch], schema: pa.Schema, wanted: Format) -> bytes:
    return b"".join(stream(iter(batches), schema, wanted))


def csv_texts(body: bytes, schema: pa.Schema) -> pa.Table:
    """The fields as texts; an empty one is null, one in quotes is a text even if it is empty."""
    return csv.read_csv(
        pa.BufferReader(body),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(schema.names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    schema = draw(st.sampled_from(SCHEMAS))
    rows = draw(rows_of(schema))
    return schema, batches_of(rows, schema, draw(st.integers(1, 8)))


@settings(max_examples=50, deadline=None)
@given(tables())
def test_arrow_and_parquet_read_back_are_the_same_table(
    made: tuple[pa.Schema, list[pa.RecordBatch]],
) -> None:
    schema, batches = made
    table = pa.Table.from_batches(batches, schema=schema)
    arrow = pa.ipc.open_stream(sent(batches, schema, Format.ARROW)).read_all()
    parquet = pq.read_table(pa.BufferReader(sent(batches, schema, Format.PARQUET)))
    assert arrow.schema.equals(schema, check_metadata=True)
    for found in (arrow, parquet):
        assert found.equals(table)
        found.validate(full=True)


@settings(max_examples=50, deadline=None)
@given(tables())
def test_ndjson_read_back_is_every_value_exactly(
    made: tuple[pa.Schema, list[pa.RecordBatch]],
) -> None:
    schema, batches = made
    body = sent(batches, schema, Format.NDJSON)
    rows = pa.Table.from_batches(batches, schema=schema).to_pylist()
    assert [json.loads(line) for line in body.split(b"\n")[:-1]] == [
        {name: as_text(value) for name, value in row.items()} for row in rows
    ]


@settings(max_examples=50, deadline=None)
@given(tables())
def test_csv_read_back_is_every_value_exactly(
    made: tuple[pa.Schema, list[pa.RecordBatch]],
) -> None:
    schema, batches = made
    found = csv_texts(sent(batches, schema, Format.CSV), schema)
    rows = pa.Table.from_batches(batches, schema=schema).to_pylist()
    assert found.column_names == schema.names
    read = [{n: _of_csv(t, schema.field(n).type) for n, t in r.items()} for r in found.to_pylist()]
    assert read == [{n: as_text(v) for n, v in r.items()} for r in rows]


def _of_csv(text: str | None, kind: pa.DataType) -> Any:
    if text is None or pa.types.is_string(kind):
        return text
    if pa.types.is_nested(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return json.loads(text)
    return text


@pytest.mark.parametrize("wanted", [f for f in Format if f.streamed])
def test_an_empty_table_is_whole_in_every_format(wanted: Format) -> None:
    body = sent([], TRADE.schema, wanted)
    match wanted:
        case Format.NDJSON:
            assert body == b""
        case Format.CSV:
            assert body.decode() == ",".join(TRADE.columns) + "\n"
        case Format.PARQUET:
            assert pq.read_table(pa.BufferReader(body)).equals(TRADE.schema.empty_table())
        case Format.ARROW:
            assert pa.ipc.open_stream(body).read_all().equals(TRADE.schema.empty_table())


def numbers(rows: int) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    table = pa.table({"n": pa.array(range(rows), pa.int64())})
    return table.schema, table.to_batches(max_chunksize=1_000)


@pytest.mark.parametrize("wanted", [f for f in Format if f.streamed])
def test_pieces_are_large_but_not_too_large_and_groups_are_equal(
    wanted: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "LEAST", 1_000)
    monkeypatch.setattr(formats, "MOST", 4_000)
    monkeypatch.setattr(columns, "ROW_GROUP", 1_500)
    monkeypatch.setattr(row_text, "STEP_ROWS", 300)
    schema, batches = numbers(5_000)
    pieces = list(stream(iter(batches), schema, wanted))
    assert len(pieces) > 3
    assert max(map(len, pieces)) <= 4_000
    body = b"".join(pieces)
    if wanted is Format.PARQUET:
        file = pq.ParquetFile(pa.BufferReader(body))
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert groups == [1_500, 1_500, 1_500, 500]
        assert file.read()["n"].to_pylist() == list(range(5_000))
    if wanted is Format.NDJSON:
        assert body == b"".join(b'{"n":%d}\n' % n for n in range(5_000))


@pytest.mark.parametrize("wanted", [f for f in Format if f.streamed])
def test_an_error_on_the_way_is_raised_and_what_was_sent_lacks_its_end(
    wanted: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "LEAST", 1)
    monkeypatch.setattr(columns, "ROW_GROUP", 1_000)
    schema, batches = numbers(3_000)

    def breaking() -> Iterator[pa.RecordBatch]:
        yield from batches[:2]
        raise OSError("gone")

    pieces: list[bytes] = []
    with pytest.raises(OSError, match="gone"):
        pieces.extend(map(bytes, stream(breaking(), schema, wanted)))
    body = b"".join(pieces)
    assert body
    if wanted is Format.PARQUET:
        with pytest.raises(pa.ArrowInvalid):
            pq.read_table(pa.BufferReader(body))
    if wanted is Format.ARROW:
        assert not body.endswith(END_OF_ARROW)


def test_what_duckdb_cannot_say_of_a_type_is_put_right() -> None:
    loose = pa.schema(
        [
            pa.field("price", pa.decimal128(18, 8)),
            pa.field("tags", pa.list_(pa.field("l", pa.string()))),
        ]
    )
    exact = pa.schema(
        [
            pa.field("price", pa.decimal128(18, 8), nullable=False, metadata={"doc": "in USD"}),
            pa.field("tags", pa.list_(pa.field("element", pa.string(), nullable=False))),
        ]
    )

    def batch(price: Decimal | None) -> pa.RecordBatch:
        return pa.record_batch([pa.array([price], loose.field(0).type), [["a"]]], schema=loose)

    body = sent([batch(Decimal("1.5"))], exact, Format.ARROW)
    found = pa.ipc.open_stream(body).read_all()
    assert found.schema.equals(exact, check_metadata=True)
    assert found.to_pylist() == [{"price": Decimal("1.5"), "tags": ["a"]}]
    with pytest.raises(ValueError, match="price"):
        sent([batch(None)], exact, Format.ARROW)
