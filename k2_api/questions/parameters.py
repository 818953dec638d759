"""What a request may say, and what it means: instants, ranges, limits.

``start`` is inclusive, ``end`` exclusive. An instant needs a zone; a date is its midnight in UTC.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from k2_market.errors import UsageError
from k2_market.instants import instant

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 1_000


# The parameter of every route that reads a table's rows.
AS_OF = Field(
    None,
    max_length=64,
    description="The table as it was: a tag, an instant with a zone, or a snapshot id (such as "
    "`meta.snapshot_id` of an earlier answer). The pages that follow read the same snapshot. "
    "Default: now.",
)


class RangeParameters(BaseModel):
    """The parameters of trades and candles. One that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    symbol: str | None = Field(
        None,
        max_length=64,
        description="Canonical (BTC-USDT) or as the exchange writes it (BTCUSDT, XBT/USD), in any "
        "case. Default: all.",
    )
    exchange: str | None = Field(
        None, max_length=64, description="Such as binance, coinbase or kraken. Default: all."
    )
    start: str | None = Field(
        None,
        max_length=40,
        description="Inclusive. An ISO 8601 instant with a zone (2024-08-08T23:55:00Z) or a date. "
        "Default: the midnight (UTC) that begins the newest day with trades before `end`; for "
        "candles so many days earlier that about 1,000 windows fit in.",
    )
    end: str | None = Field(
        None, max_length=40, description="Exclusive, written as `start`. Default: open."
    )
    as_of: str | None = AS_OF
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="The most rows of a page.")
    cursor: str | None = Field(
        None, max_length=1024, description="`next_cursor` of the page before, all else unchanged."
    )

    @property
    def start_at(self) -> datetime | None:
        """The start. Raises UsageError."""
        return None if self.start is None else instant("start", self.start)

    @property
    def end_at(self) -> datetime | None:
        """The end. Raises UsageError, also when it is not after the start."""
        end = None if self.end is None else instant("end", self.end)
        start = self.start_at
        if start is not None and end is not None and start >= end:
            raise UsageError(
                f"end: {self.end!r} is not after start {self.start!r}. "
                "The range is start inclusive to end exclusive."
            )
        return end
