"""How many bytes rows take in each format, judged by a sample of them."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
from pydantic import BaseModel, Field

from k2_api.answers.formats import Format, stream
from k2_api.answers.models import FreshnessMeta

SAMPLE_ROWS = 2_000


class Sizes(BaseModel):
    """About how many bytes an answer has in a format, before Content-Encoding."""

    json_: int = Field(alias="json", description="Also as ndjson; pages hold 10,000 rows at most.")
    csv: int
    parquet: int
    arrow: int


class Amounts(BaseModel):
    """How much a question asks for."""

    rows: int = Field(description="Exactly so many rows, of all pages together.")
    bytes: Sizes


class AmountsMeta(BaseModel):
    """What was counted."""

    table: str
    snapshot_id: str | None
    start: datetime | None = Field(description="Start of the range as it was applied; null: open.")
    end: datetime | None
    freshness: FreshnessMeta | None


class Counted(BaseModel):
    """How many rows a question has, and about how many bytes in each format."""

    data: Amounts
    meta: AmountsMeta


def sizes(rows: int, sample: pa.Table) -> dict[str, int]:
    """The bytes of so many rows in each format, if they are like those of the sample."""
    return {
        name: _size(rows, sample, wanted)
        for name, wanted in (
            ("json", Format.NDJSON),
            ("csv", Format.CSV),
            ("parquet", Format.PARQUET),
            ("arrow", Format.ARROW),
        )
    }


def _size(rows: int, sample: pa.Table, wanted: Format) -> int:
    """What an answer without rows takes, and of each row what one of the sample does."""
    empty = _written(sample.slice(0, 0), wanted)
    if not sample.num_rows:
        return empty
    return empty + (_written(sample, wanted) - empty) * rows // sample.num_rows


def _written(rows: pa.Table, wanted: Format) -> int:
    return sum(map(len, stream(iter(rows.to_batches()), rows.schema, wanted)))
