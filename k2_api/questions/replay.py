"""What a replay may be asked."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from k2_api.questions.parameters import DEFAULT_LIMIT, MAX_LIMIT


class ReplayParameters(BaseModel):
    """The parameters of a replay. One that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    channels: str = Field(
        "trades,quotes", max_length=64, description="trades, quotes or both, by comma."
    )
    exchange: str | None = Field(
        None, max_length=1024, description="One or several, by comma. Default: all."
    )
    symbol: str | None = Field(
        None,
        max_length=2048,
        description="One or several, by comma, in any spelling. Default: all.",
    )
    start: str = Field(
        max_length=40,
        description="Inclusive: the first time of receipt (`ingestion_timestamp`). An ISO 8601 "
        "instant with a zone or a date.",
    )
    end: str | None = Field(
        None, max_length=40, description="Exclusive, written as `start`. Default: open."
    )
    as_of: str | None = Field(
        None,
        max_length=64,
        description="The tables as they were: a tag or an instant with a zone. Default: now.",
    )
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="The most rows of a page.")
    cursor: str | None = Field(
        None,
        max_length=1024,
        description="`cursor` of a message of this replay, all else unchanged.",
    )

    @property
    def question(self) -> str:
        """What a cursor belongs to: everything that was asked but the size of a page."""
        parts = (self.channels, self.exchange, self.symbol, self.start, self.end, self.as_of)
        return msgspec.json.encode(("replay", *parts)).decode()
