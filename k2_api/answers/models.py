"""The shapes of answers, derived from the records so that they cannot drift from the tables.

They describe answers in OpenAPI; the rows themselves come as JSON from the query (see queries).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, create_model

from k2_api.answers.problems import Problem
from k2_api.reading.candle_set import FILLED_ROW
from k2_market.conditions import DAY_CONDITION
from k2_market.klines import RECONCILIATION
from k2_market.listing import INSTRUMENT
from k2_market.records import GAP, QUOTE, REJECTED, TRADE, Record

DecimalText = Annotated[
    str,
    Field(
        json_schema_extra={"format": "decimal"},
        pattern=r"^-?\d+(\.\d+)?$",
        examples=["60854.36000000"],
    ),
]


def row_model(record: Record) -> type[BaseModel]:
    """The model of one row: every field of the record with its description.

    No field is required: a question may choose some (``fields``). Binary values are in base64.
    """
    fields: dict[str, Any] = {
        field.name: (
            _python_type(field.type) | None if field.nullable else _python_type(field.type),
            Field(description=(field.metadata or {})[b"doc"].decode()),
        )
        for field in record.schema
    }
    model: type[BaseModel] = create_model(
        record.name,
        __doc__=record.doc,
        __config__=ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None)),
        **fields,
    )
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
        pa.binary(): str,
        pa.bool_(): bool,
        pa.int32(): int,
        pa.int64(): int,
        pa.date32(): date,
        pa.timestamp("us", tz="UTC"): datetime,
    }[kind]


class FreshnessMeta(BaseModel):
    """Whether rows that no table has yet are in the answer."""

    tail: Literal["live", "down", "off"] = Field(
        description="live: all that came to Kafka up to `through` is here. down: rows that "
        "no table has yet may be missing, see `detail`. off: the API runs without Kafka."
    )
    through: datetime | None = Field(description="Null unless live.")
    detail: str | None = Field(description="Whose rows may be missing, and why.")


class PageMeta(BaseModel):
    """What the rows of a page are and how to go on."""

    table: str = Field(description="The table that was read.")
    snapshot_id: str | None = Field(
        description="The table's snapshot, as text: it exceeds 2^53. Null before the first write."
    )
    start: datetime | None = Field(
        description="Start of the range, inclusive, as it was applied; null: open."
    )
    end: datetime | None = Field(description="End of the range, exclusive; null: open.")
    limit: int = Field(description="The most rows that this page could have.")
    has_more: bool = Field(description="Whether rows followed this page when it was read.")
    next_cursor: str | None = Field(description="Give it as ``cursor`` for the next page.")
    freshness: FreshnessMeta | None = Field(
        description="Null for a past state of the table (`as_of`), and for what no feed brings."
    )


def page_model(record: Record, order: str, meta: type[BaseModel] = PageMeta) -> type[BaseModel]:
    """The model of a page of such rows; ``order`` says in words how they are ordered."""
    row = row_model(record)
    model: type[BaseModel] = create_model(
        f"{record.name}Page",
        __doc__=f"A page of {record.name} rows, by {order}.",
        data=(list[row], ...),  # type: ignore[valid-type]
        meta=(meta, ...),
    )
    return model


class InstrumentsMeta(PageMeta):
    """What the rows of a page of instruments are and how to go on."""

    at: datetime | None = Field(description="The instant whose terms these are; null: now.")


Trades = page_model(TRADE, "exchange, symbol, timestamp, source_sequence and trade_id")
Quotes = page_model(QUOTE, "exchange, symbol, timestamp, source_sequence and quote_id")
Candles = page_model(FILLED_ROW, "exchange, symbol and window_start")
Gaps = page_model(GAP, "exchange, symbol, before_at and the missing ids")
Conditions = page_model(DAY_CONDITION, "exchange, symbol, kind and day")
Reconciliations = page_model(RECONCILIATION, "exchange, symbol, timeframe and window_start")
Rejections = page_model(REJECTED, "exchange, kind and place in Kafka")
Instruments = page_model(INSTRUMENT, "exchange, symbol and valid_from", InstrumentsMeta)


class CandleProblem(BaseModel):
    """Why a question of a batch has no answer."""

    problem: Problem


class CandleBatchMeta(BaseModel):
    """What the answers of a batch were read from."""

    snapshots: dict[str, str | None] = Field(description="By table, the snapshot as text.")


class CandleBatchAnswer(BaseModel):
    """The answers of a batch, in the order of its requests."""

    data: list[Candles | CandleProblem]  # type: ignore[valid-type]
    meta: CandleBatchMeta


class FrameHealth(BaseModel):
    """How far the stored candles of a timeframe are."""

    newest_window: datetime | None = Field(description="Start of the newest window with trades.")
    final_until: datetime | None = Field(description="Windows that end by then are final.")
    lag_seconds: float | None = Field(description="How late the table is; null: not measured.")
    slo_seconds: int | None = Field(description="How late it may be.")


class InstrumentHealth(BaseModel):
    """How far the candles of an instrument are."""

    exchange: str
    symbol: str
    timeframes: dict[str, FrameHealth] = Field(description="By stored timeframe.")
    open_gaps: int = Field(description="Gaps that are open, see /v1/gaps.")
    missing_trades: int = Field(description="Raw trades that are missing in them.")


class CandleHealth(BaseModel):
    """How far the candles of every instrument are, by exchange and symbol."""

    data: list[InstrumentHealth]


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


class Snapshot(BaseModel):
    """A state of a table that can be asked for with ``as_of``."""

    table: str
    snapshot_id: str = Field(description="As text: it exceeds 2^53.")
    committed_at: datetime
    mode: str = Field(description="What its commit was: append, recompute, maintenance and so on.")
    days: list[date] = Field(description="Days that its commit touched.")
    added: int = Field(description="Rows of files that it added.")
    removed: int = Field(description="Rows of files that it removed.")
    rows: int = Field(description="Rows of the table then.")
    tags: list[str] = Field(description="Names that were given to it.")


class Snapshots(BaseModel):
    """The states of tables that are still kept, by table, the newest first."""

    data: list[Snapshot]


class InstrumentStats(BaseModel):
    """How much there is of an instrument."""

    exchange: str
    symbol: str
    trades: int
    first_trade_date: date
    last_trade_date: date


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


class Figures(BaseModel):
    """Figures of the whole."""

    instruments: list[InstrumentStats] = Field(description="Instruments that have trades.")
    tables: list[TableHealth] = Field(description="Every table of the lake.")
    newest_trade: datetime | None = Field(description="The newest trade time in gold.trades.")


class Stats(BaseModel):
    """How much there is, of what, and how fresh it is."""

    data: Figures


class Summary(BaseModel):
    """A day of an instrument on an exchange: its candle, its condition and its gaps."""

    exchange: str
    symbol: str
    date: date
    candle: dict[str, Any] | None = Field(
        description="The day's candle as /v1/ohlcv/1d has it; null where there was no trade."
    )
    conditions: list[dict[str, Any]] = Field(
        description="The day's condition by kind, as /v1/condition has it."
    )
    gaps: list[dict[str, Any]] = Field(description="Gaps that begin on the day, as /v1/gaps.")
    quotes: int = Field(description="Quotes of the day.")


class Summaries(BaseModel):
    """A day of an instrument, one row for each exchange that has it."""

    data: list[Summary]


class Alive(BaseModel):
    """That the process lives, or is ready."""

    status: Literal["ok"]


class Health(BaseModel):
    """That the process lives, and what it sees of the lake."""

    status: str = Field(description="ok, or degraded while the tables cannot be read.")
    detail: str | None = Field(description="Why it is degraded.")
    version: str
    level: Literal["normal", "soft", "graceful", "aggressive", "circuit_break"] = Field(
        description="How much the API still does; see docs/api-security.md."
    )
    switched_off: list[str] = Field(description="What it does not do at this level.")
    breakers: dict[str, Literal["closed", "open", "half-open"]] = Field(
        description="By dependency: open is left alone for a while, half-open is being tried."
    )
    load: float = Field(description="The share of places for requests that are taken, averaged.")
    in_work: int = Field(description="Requests in work now, this one among them.")
    newest_trade: datetime | None = Field(description="The newest trade time in gold.trades.")
    tables: list[TableHealth]
