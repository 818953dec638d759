"""The shapes of answers, derived from the records so that they cannot drift from the tables.

They describe answers in OpenAPI; the rows themselves come as JSON from the query (see queries).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, Field, create_model

from k2_market.listing import INSTRUMENT
from k2_market.records import CANDLE, TRADE, Record

DecimalText = Annotated[
    str,
    Field(
        json_schema_extra={"format": "decimal"},
        pattern=r"^-?\d+(\.\d+)?$",
        examples=["60854.36000000"],
    ),
]


def row_model(record: Record) -> type[BaseModel]:
    """The model of one row: every field of the record with its description."""
    fields: dict[str, Any] = {
        field.name: (
            _python_type(field.type) | None if field.nullable else _python_type(field.type),
            Field(description=(field.metadata or {})[b"doc"].decode()),
        )
        for field in record.schema
    }
    model: type[BaseModel] = create_model(record.name, __doc__=record.doc, **fields)
    return model


def _python_type(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return list[_python_type(kind.value_type)]  # type: ignore[misc]
    if pa.types.is_map(kind):
        return dict[str, _python_type(kind.item_type)]  # type: ignore[misc]
    if pa.types.is_decimal(kind):
        return DecimalText
    return {
        pa.string(): str,
        pa.bool_(): bool,
        pa.int32(): int,
        pa.int64(): int,
        pa.date32(): date,
        pa.timestamp("us", tz="UTC"): datetime,
    }[kind]


class PageMeta(BaseModel):
    """What the rows of a page are and how to go on."""

    table: str = Field(description="The table that was read.")
    snapshot_id: str | None = Field(
        description="The table's snapshot, as text: it exceeds 2^53. Null before the first write."
    )
    start: datetime | None = Field(description="Start of the range, inclusive, as it was applied.")
    end: datetime | None = Field(description="End of the range, exclusive; null: open.")
    limit: int = Field(description="The most rows that this page could have.")
    has_more: bool = Field(description="Whether rows followed this page when it was read.")
    next_cursor: str | None = Field(description="Give it as ``cursor`` for the next page.")


TradeRow = row_model(TRADE)
CandleRow = row_model(CANDLE)


class Trades(BaseModel):
    """A page of trades, by exchange, symbol, timestamp, source_sequence and trade_id."""

    data: list[TradeRow]  # type: ignore[valid-type]
    meta: PageMeta


class Candles(BaseModel):
    """A page of candles, by exchange, symbol and window_start; only windows with trades."""

    data: list[CandleRow]  # type: ignore[valid-type]
    meta: PageMeta


class SymbolRow(BaseModel):
    """An instrument that has trades."""

    exchange: str = Field(description="Venue and market.")
    symbol: str = Field(description="Canonical symbol, BASE-QUOTE.")
    exchange_symbol: str = Field(description="The symbol as the exchange writes it.")
    first_trade_date: date = Field(description="UTC day of the first trade.")
    last_trade_date: date = Field(description="UTC day of the last trade.")
    trades: int = Field(description="Rows in the table of trades.")


class SymbolsMeta(BaseModel):
    """Where the list comes from."""

    table: str
    snapshot_id: str | None


class Symbols(BaseModel):
    """All instruments that have trades, by exchange and symbol."""

    data: list[SymbolRow]
    meta: SymbolsMeta


InstrumentRow = row_model(INSTRUMENT)


class InstrumentsMeta(BaseModel):
    """What the rows of a page are and how to go on."""

    table: str = Field(description="The table that was read.")
    snapshot_id: str | None = Field(description="Its snapshot; null before the first write.")
    at: datetime | None = Field(description="The instant whose terms these are; null: now.")
    limit: int = Field(description="The most rows that this page could have.")
    has_more: bool = Field(description="Whether rows followed this page when it was read.")
    next_cursor: str | None = Field(description="Give it as ``cursor`` for the next page.")


class Instruments(BaseModel):
    """A page of instruments, by exchange, symbol and valid_from."""

    data: list[InstrumentRow]  # type: ignore[valid-type]
    meta: InstrumentsMeta


class TableHealth(BaseModel):
    """A table as it is now."""

    name: str
    snapshot_id: str | None = Field(description="Null before the first write.")
    committed_at: datetime | None = Field(description="When that snapshot was written.")
    rows: int
    lag_seconds: float | None = Field(
        description="The age of the oldest thing that arrived and is not in the table, 0 where "
        "nothing waits. Null where it is not measured: of bronze, while Kafka does not answer."
    )
    slo_seconds: int | None = Field(description="How far it may be behind; null for no limit.")


class Health(BaseModel):
    """That the process lives, and what it sees of the lake."""

    status: str = Field(description="ok, or degraded while the tables cannot be read.")
    detail: str | None = Field(description="Why it is degraded.")
    version: str
    newest_trade: datetime | None = Field(description="The newest trade time in gold.trades.")
    tables: list[TableHealth]
