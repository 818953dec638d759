"""The shapes of aggregations: figures of a range as a whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pydantic import BaseModel, Field

from k2_api.answers.models import DecimalText, FreshnessMeta, row_model
from k2_market.records import CANDLE


class RangeMeta(BaseModel):
    """What the figures are of, and were read from."""

    table: str = Field(description="The table of trades.")
    snapshot_id: str | None = Field(description="Its snapshot, as text.")
    start: datetime = Field(description="Start of the range, inclusive.")
    end: datetime = Field(description="End of the range, exclusive.")
    freshness: FreshnessMeta | None = Field(description="Null for a past state (`as_of`).")


class _OfInstrument(BaseModel):
    exchange: str = Field(description="Venue and market, or consolidated.")
    symbol: str = Field(description="Canonical symbol.")


class Vwap(_OfInstrument):
    """A volume-weighted average price."""

    vwap: DecimalText = Field(description="quote_volume / volume, cut after eight decimals.")
    volume: DecimalText = Field(description="Sum of quantity.")
    quote_volume: DecimalText = Field(description="Sum of price x quantity.")
    trade_count: int = Field(description="Raw trades.")


class Twap(_OfInstrument):
    """A time-weighted average price."""

    twap: DecimalText = Field(description="Sum of price x time / time, cut after eight decimals.")
    covered_seconds: DecimalText = Field(description="The time in which there was a price.")
    trade_count: int = Field(description="Rows of trades in the range.")


class ProfileBucket(_OfInstrument):
    """What was traded at prices from ``price_low`` on and below ``price_high``."""

    price_low: DecimalText = Field(description="Inclusive.")
    price_high: DecimalText = Field(description="Exclusive.")
    volume: DecimalText = Field(description="Sum of quantity.")
    quote_volume: DecimalText = Field(description="Sum of price x quantity.")
    taker_buy_volume: DecimalText = Field(description="Sum of quantity where the taker bought.")
    trade_count: int = Field(description="Raw trades.")


RangeCandle = row_model(replace(CANDLE, name="RangeCandle"))


class RangeCandles(BaseModel):
    """One candle for each exchange and symbol with trades in the range."""

    data: list[RangeCandle]  # type: ignore[valid-type]
    meta: RangeMeta


class Vwaps(BaseModel):
    """One VWAP for each exchange and symbol with trades in the range."""

    data: list[Vwap]
    meta: RangeMeta


class Twaps(BaseModel):
    """One TWAP for each exchange and symbol that had a price in the range."""

    data: list[Twap]
    meta: RangeMeta


class Profiles(BaseModel):
    """The buckets with trades, by exchange, symbol and price."""

    data: list[ProfileBucket]
    meta: RangeMeta
