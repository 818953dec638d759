"""What short answers are made of: listings, states, health, figures of a range as a whole."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from k2_client.rows import Candle, DayCondition, Gap, Row


class Symbol(Row, frozen=True, kw_only=True):
    """An instrument that has trades, with the UTC days of the first and the last."""

    exchange: str
    symbol: str
    exchange_symbol: str
    first_trade_date: date
    last_trade_date: date
    trades: int


class Snapshot(Row, frozen=True, kw_only=True):
    """A state of a table that can be asked for with ``as_of``; ``mode`` is what its commit was."""

    table: str
    snapshot_id: str
    committed_at: datetime
    mode: str
    days: list[date]
    added: int
    removed: int
    rows: int
    tags: list[str]


class Summary(Row, frozen=True, kw_only=True):
    """A day of an instrument on an exchange; ``candle`` is None where there was no trade."""

    exchange: str
    symbol: str
    date: date
    candle: Candle | None
    conditions: list[DayCondition]
    gaps: list[Gap]
    quotes: int


class FrameHealth(Row, frozen=True, kw_only=True):
    """How far the stored candles of a timeframe are; windows that end by ``final_until`` are."""

    newest_window: datetime | None
    final_until: datetime | None
    lag_seconds: float | None
    slo_seconds: int | None


class CandleHealth(Row, frozen=True, kw_only=True):
    """How far the candles of an instrument are, by stored timeframe."""

    exchange: str
    symbol: str
    timeframes: dict[str, FrameHealth]
    open_gaps: int
    missing_trades: int


class Vwap(Row, frozen=True, kw_only=True):
    """The volume-weighted average price of a range."""

    exchange: str
    symbol: str
    vwap: Decimal
    volume: Decimal
    quote_volume: Decimal
    trade_count: int


class Twap(Row, frozen=True, kw_only=True):
    """The time-weighted average price of a range; ``covered_seconds``: while there was a price."""

    exchange: str
    symbol: str
    twap: Decimal
    covered_seconds: Decimal
    trade_count: int


class Bucket(Row, frozen=True, kw_only=True):
    """What was traded at prices from ``price_low`` on and below ``price_high``."""

    exchange: str
    symbol: str
    price_low: Decimal
    price_high: Decimal
    volume: Decimal
    quote_volume: Decimal
    taker_buy_volume: Decimal
    trade_count: int
