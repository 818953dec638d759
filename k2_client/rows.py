"""What a row is: the records' fields under their names, in Python's own types.

Decimals are exact, instants are UTC. The meaning of each field stands with its record in
``k2_market``, and on the API's page ``/docs``. A field that a newer API adds is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec.structs import fields as fields_of

from k2_market.errors import UnknownName


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of an answer."""


class Trade(Row, frozen=True, kw_only=True):
    """One trade as the exchange reported it."""

    exchange: str
    symbol: str
    exchange_symbol: str
    asset_class: str
    trade_id: str
    source_sequence: int
    timestamp: datetime
    event_time: datetime | None
    ingestion_timestamp: datetime
    price: Decimal
    quantity: Decimal
    currency: str
    side: str
    trade_conditions: list[str] | None
    vendor_data: dict[str, str] | None
    candle_eligible: bool
    trade_count: int
    epoch: int
    kafka_partition: int
    kafka_offset: int
    frame_index: int
    trade_date: date
    ingest_date: date


class Quote(Row, frozen=True, kw_only=True):
    """The best bid and the best ask of an order book."""

    exchange: str
    symbol: str
    exchange_symbol: str
    asset_class: str
    quote_id: str
    source_sequence: int
    timestamp: datetime
    event_time: datetime | None
    ingestion_timestamp: datetime
    bid_price: Decimal
    bid_quantity: Decimal
    ask_price: Decimal
    ask_quantity: Decimal
    currency: str
    quote_conditions: list[str] | None
    vendor_data: dict[str, str] | None
    epoch: int
    kafka_partition: int
    kafka_offset: int
    frame_index: int
    quote_date: date
    ingest_date: date


class Candle(Row, frozen=True, kw_only=True):
    """Open, high, low, close and sums of one window.

    ``final``: the window is over and nothing of it is on its way to the tables. ``filled``: it had
    no trade, and so no ids, and carries the close before it.
    """

    exchange: str
    symbol: str
    window_start: datetime
    window_end: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    vwap: Decimal
    trade_count: int
    first_trade_id: str | None
    last_trade_id: str | None
    window_date: date
    final: bool | None = None
    filled: bool = False


class Gap(Row, frozen=True, kw_only=True):
    """Consecutive trade ids that are, or once were, missing."""

    exchange: str
    symbol: str
    first_missing_id: int
    last_missing_id: int
    missing: int
    before_at: datetime
    after_at: datetime
    cause: str
    state: str
    reason: str | None
    detected_at: datetime
    repaired_at: datetime | None
    gap_date: date


class DayCondition(Row, frozen=True, kw_only=True):
    """Whether a day of an instrument is whole, with the figures."""

    exchange: str
    symbol: str
    kind: str
    day: date
    condition: str
    reasons: list[str]
    rows: int
    gaps: int
    missing_ids: int
    rejected: int
    connections: int
    disconnects: int
    lost_frames: int
    longest_silence_us: int | None
    first_at: datetime | None
    last_at: datetime | None
    snapshots: dict[str, str]
    computed_at: datetime


class Reconciliation(Row, frozen=True, kw_only=True):
    """A window of K2's beside the same one as the exchange publishes it."""

    exchange: str
    symbol: str
    timeframe: str
    window_start: datetime
    outcome: str
    fields: list[str]
    differing: list[str]
    ours: dict[str, str] | None
    theirs: dict[str, str] | None
    reason: str | None
    source: str
    candles_snapshot: int | None
    compared_at: datetime
    window_date: date


class Rejected(Row, frozen=True, kw_only=True):
    """A frame, or a row of one, that broke a rule."""

    exchange: str
    kind: str
    reason: str
    detail: str
    epoch: int
    kafka_partition: int
    kafka_offset: int
    frame_index: int
    received_at: datetime
    payload: bytes
    ingest_date: date


class Instrument(Row, frozen=True, kw_only=True):
    """The terms of an instrument for as long as they held."""

    exchange: str
    symbol: str
    exchange_symbol: str
    names: list[str]
    base: str
    quote: str
    type: str
    tick_size: Decimal
    lot_size: Decimal
    min_notional: Decimal | None
    contract_size: Decimal | None
    contract_currency: str | None
    status: str
    valid_from: datetime
    valid_to: datetime | None


R = TypeVar("R", bound=Row)


def narrowed(row: type[R], names: Sequence[str]) -> type[R]:
    """The row with these fields alone. Raises UnknownName for one that it has not."""
    known = {f.name: f.type for f in fields_of(row)}
    for name in names:
        if name not in known:
            raise UnknownName("field", name, known)
    chosen = [(name, known[name]) for name in names]
    return msgspec.defstruct(row.__name__, chosen, bases=(Row,), frozen=True, kw_only=True)  # type: ignore[return-value]
