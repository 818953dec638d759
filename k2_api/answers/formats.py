"""The formats of an answer, and rows encoded in them while they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

import pyarrow as pa

from k2_api.answers.columns import arrow_stream, parquet
from k2_api.answers.row_text import csv_header, lines, row_csv, row_json

# A piece costs about 0.1 ms on its way to the socket, whatever its size, and memory holds those on
# their way: small ones are put together until there are so many bytes, large ones cut.
LEAST = 256 * 1024
MOST = 1024 * 1024

Piece = bytes | memoryview


class Format(StrEnum):
    """How rows are written; the value is the ``format=`` that asks for it."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"

    @property
    def media_type(self) -> str:
        """The Content-Type, without parameters."""
        return MEDIA_TYPES[self]

    @property
    def suffix(self) -> str:
        """What the name of a file ends with."""
        return "arrows" if self is Format.ARROW else self.value

    @property
    def streamed(self) -> bool:
        """Whether rows are sent as they come; else in pages."""
        return self is not Format.JSON

    @property
    def text(self) -> bool:
        """Whether Content-Encoding may compress it; Arrow and Parquet are compressed inside."""
        return self not in (Format.PARQUET, Format.ARROW)


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.NDJSON: "application/x-ndjson",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}


def stream(batches: Iterator[pa.RecordBatch], schema: pa.Schema, wanted: Format) -> Iterator[Piece]:
    """The rows in that format, in pieces of at most 1 MiB; a streamed format is wanted.

    The batches have the columns of the schema; what DuckDB cannot say of a type (that a column has
    no nulls, what the element of a list is called) is put right. What ``batches`` raises is raised
    here, and what was sent then lacks its end.
    """
    return _sized(_encoded(_exact(batches, schema), schema, wanted))


def _encoded(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, wanted: Format
) -> Iterator[Piece]:
    match wanted:
        case Format.NDJSON:
            yield from lines(batches, row_json(schema))
        case Format.CSV:
            yield csv_header(schema)
            yield from lines(batches, row_csv(schema))
        case Format.PARQUET:
            yield from parquet(batches, schema)
        case Format.ARROW:
            yield from arrow_stream(batches, schema)
        case Format.JSON:
            raise ValueError("JSON is answered in pages, not streamed")


def _exact(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch if batch.schema == schema else batch.cast(schema)


def _sized(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same bytes, put together to LEAST and cut at MOST."""
    waiting: list[Piece] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= LEAST:
            together = waiting[0] if len(waiting) == 1 else b"".join(waiting)
            yield from _cut(together)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


def _cut(piece: Piece) -> Iterator[Piece]:
    whole = memoryview(piece)
    for first in range(0, len(whole), MOST):
        yield whole[first : first + MOST]
