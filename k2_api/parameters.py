"""What a request may say, and what it means: instants, ranges, limits.

``start`` is inclusive, ``end`` exclusive. An instant needs a zone; a date is its midnight in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time

from pydantic import BaseModel, ConfigDict, Field

from k2_market.errors import UsageError

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 1_000
YEARS = range(1970, 3000)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})?"
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


def instant(name: str, text: str) -> datetime:
    """The instant that ``text`` says, in UTC. ``name`` is the parameter's, for the message.

    Raises UsageError for a time without a zone: it would be read differently in every place.
    """
    try:
        if _DATE.fullmatch(text):
            return _within(name, datetime.combine(date.fromisoformat(text), time.min, tzinfo=UTC))
        found = _INSTANT.fullmatch(text)
        if found is None:
            raise ValueError
        if found[3] is None:
            raise UsageError(
                f"{name}: {text!r} has no zone, so it names no instant. Add Z for UTC, or an "
                "offset such as +02:00 (in a URL %2B02:00)."
            )
        at = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{name}: {text!r} is not a time. Write 2024-08-08, 2024-08-08T23:55:00Z or "
            "2024-08-08T23:55:00.123456+02:00 (in a URL + is %2B)."
        ) from None
    return _within(name, at)


def _within(name: str, at: datetime) -> datetime:
    if at.year not in YEARS:
        raise UsageError(
            f"{name}: the year {at.year} is outside of {YEARS.start} to {YEARS.stop - 1}."
        )
    return at
