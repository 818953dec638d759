"""What a request may say, and what it means: names, instants, ranges, fields, limits.

``start`` is inclusive, ``end`` exclusive. An instant needs a zone; a date is its midnight in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from k2_lake.quality.gap_ledger import Cause, State
from k2_market.conditions import Condition
from k2_market.errors import UsageError
from k2_market.instants import instant
from k2_market.kinds import Kind
from k2_market.klines import Outcome

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 1_000
MAX_NAMES = 50
_LONGEST_NAME = 64

AS_OF = Field(
    None,
    max_length=64,
    description="The table as it was: a tag, an instant with a zone, or a snapshot id (such as "
    "`meta.snapshot_id` of an earlier answer). The pages that follow read the same snapshot. "
    "Default: now.",
)


class Parameters(BaseModel):
    """What every data route takes. A parameter that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    exchange: str | None = Field(
        None,
        max_length=512,
        description="Such as binance, coinbase or kraken; several with commas. Default: all.",
    )
    order: Literal["asc", "desc"] = Field(
        "asc",
        description="desc: the rows in exactly the reverse order, so that `order=desc&limit=100` "
        "is the newest 100 of an instrument.",
    )
    fields: str | None = Field(
        None, max_length=1024, description="Only these fields, with commas. Default: all."
    )
    as_of: str | None = AS_OF
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="The most rows of a page.")
    cursor: str | None = Field(
        None, max_length=1024, description="`next_cursor` of the page before, all else unchanged."
    )
    format: str | None = Field(
        None,
        max_length=16,
        description="json, ndjson, csv, parquet or arrow; default: by Accept. All but json are "
        "streamed: all rows of the range, or the first `limit`; they need `start` or `limit`, "
        "and have no cursor.",
    )

    @property
    def exchanges(self) -> list[str]:
        """The exchanges as they were written. Raises UsageError."""
        return names("exchange", self.exchange)

    @property
    def most(self) -> int | None:
        """The limit of rows that are streamed, None for all. Raises UsageError."""
        if self.cursor is not None:
            raise UsageError(
                "cursor: what is streamed has no pages. Ask for json, or for the whole range "
                "by start and end."
            )
        if "limit" in self.model_fields_set:
            return self.limit
        if getattr(self, "start", "") is None:
            raise UsageError(
                "start: all rows since the beginning are too many to be meant. Say from when on, "
                "or how many with limit."
            )
        return None

    def range(self) -> tuple[datetime | None, datetime | None]:
        """Start and end, None where open. Raises UsageError, also when they are the wrong way."""
        start, end = (self._instant(name) for name in ("start", "end"))
        if start is not None and end is not None and start >= end:
            said = self.model_dump()
            raise UsageError(
                f"end: {said['end']!r} is not after start {said['start']!r}. "
                "The range is start inclusive to end exclusive."
            )
        return start, end

    def _instant(self, name: str) -> datetime | None:
        text = getattr(self, name, None)
        return None if text is None else instant(name, text)

    def question(self, table: str) -> list[object]:
        """What a cursor belongs to: all that decides which rows come in which order."""
        said = self.model_dump(exclude={"limit", "cursor", "fields", "format"})
        return [table, *(item for pair in sorted(said.items()) for item in pair)]


class RangeParameters(Parameters):
    """The parameters of rows that have an instrument and a time."""

    symbol: str | None = Field(
        None,
        max_length=2048,
        description="Canonical (BTC-USDT) or as the exchange writes it (BTCUSDT, XBT/USD), in any "
        "case; several with commas. Default: all.",
    )
    start: str | None = Field(
        None,
        max_length=40,
        description="Inclusive. An ISO 8601 instant with a zone (2024-08-08T23:55:00Z) or a date. "
        "Default, with `order=asc`: for trades and quotes the midnight (UTC) that begins the "
        "newest day with trades before `end`, for candles so many days earlier that about 1,000 "
        "windows fit in, else the first row.",
    )
    end: str | None = Field(
        None, max_length=40, description="Exclusive, written as `start`. Default: open."
    )


class RejectedParameters(Parameters):
    """The parameters of rows that were rejected; they have a time of receipt and no symbol."""

    kind: Kind | None = Field(None, description="Of one kind only.")
    reason: str | None = Field(None, max_length=64, description="With this reason only.")
    start: str | None = Field(
        None, max_length=40, description="Received at or after this instant or date."
    )
    end: str | None = Field(None, max_length=40, description="Received before this.")


class GapParameters(RangeParameters):
    """The parameters of gaps: their time is that of the last trade before the gap."""

    state: State | None = Field(None, description="In this state only.")
    cause: Cause | None = Field(None, description="With this cause only.")


class ConditionParameters(RangeParameters):
    """The parameters of conditions; start and end are compared with days."""

    kind: Kind | None = Field(None, description="Of one kind only.")
    condition: Condition | None = Field(None, description="Only days in this condition.")


class ReconciliationParameters(RangeParameters):
    """The parameters of windows that were compared with the exchange's own."""

    timeframe: Literal["1m", "5m", "30m", "1h", "1d"] | None = Field(
        None, description="Of this timeframe only."
    )
    outcome: Outcome | None = Field(None, description="With this outcome only.")


class InstrumentParameters(Parameters):
    """The parameters of instruments."""

    symbol: str | None = Field(
        None,
        max_length=64,
        description="In any spelling that the exchange has: BTC-USD, XXBTZUSD, XBT/USD, btcusd.",
    )
    at: str | None = Field(
        None,
        max_length=40,
        description="The terms as they were at this instant with a zone, or at this date's "
        "midnight (UTC). Default: those that hold now.",
    )


class ListingParameters(BaseModel):
    """The parameters of what is listed by exchange: symbols, and the summary of a day."""

    model_config = ConfigDict(extra="forbid")

    exchange: str | None = Field(
        None, max_length=512, description="Such as kraken; several with commas. Default: all."
    )
    as_of: str | None = AS_OF

    @property
    def exchanges(self) -> list[str]:
        """The exchanges as they were written. Raises UsageError."""
        return names("exchange", self.exchange)


class NoParameters(BaseModel):
    """Nothing to say: a parameter is refused here too, not ignored."""

    model_config = ConfigDict(extra="forbid")


class SnapshotParameters(BaseModel):
    """The parameters of the list of snapshots."""

    model_config = ConfigDict(extra="forbid")

    table: str | None = Field(
        None, max_length=64, description="Such as gold.trades. Default: all that answers name."
    )
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="The newest so many of each table.")


def names(parameter: str, text: str | None) -> list[str]:
    """The names in a list with commas, none for None. Raises UsageError."""
    if text is None:
        return []
    found = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in found:
        if len(name) > _LONGEST_NAME:
            raise UsageError(
                f"{parameter}: {name[:_LONGEST_NAME]}... has {len(name)} characters; no name has "
                f"more than {_LONGEST_NAME}."
            )
    if "" in found:
        raise UsageError(f"{parameter}: {text!r} has an empty name. Separate names with one comma.")
    if len(found) > MAX_NAMES:
        raise UsageError(f"{parameter}: {len(found)} names, at most {MAX_NAMES} can be asked for.")
    return found
