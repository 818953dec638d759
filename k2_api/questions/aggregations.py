"""What a request may say of aggregations: figures of a range as a whole."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from k2_api.questions.parameters import AS_OF, RangeParameters
from k2_market.errors import UsageError

MOST_BUCKETS = 500
DEFAULT_BUCKETS = 50


class AggregationParameters(BaseModel):
    """The parameters of every aggregation. One that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(
        max_length=2048,
        description="Canonical or as the exchange writes it; several with commas.",
    )
    exchange: str | None = Field(
        None, max_length=512, description="Such as kraken; several with commas. Default: all."
    )
    start: str = Field(
        max_length=40,
        description="Inclusive. An ISO 8601 instant with a zone (2024-08-08T23:55:00Z) or a date.",
    )
    end: str | None = Field(
        None, max_length=40, description="Exclusive, written as `start`. Default: now."
    )
    as_of: str | None = AS_OF
    consolidated: bool = Field(
        False, description="true: one figure for a symbol across the exchanges asked for."
    )

    @property
    def range(self) -> RangeParameters:
        """The same question of rows; its end is told. Raises UsageError."""
        # A millisecond, for nobody can tell now any better.
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        said = self.model_dump(include={"symbol", "exchange", "start", "as_of"})
        return RangeParameters.model_validate(
            {**said, "end": now if self.end is None else self.end}
        )


class ProfileParameters(AggregationParameters):
    """The parameters of a volume profile: the size of its buckets, or their number."""

    bucket: Decimal | None = Field(
        None,
        gt=0,
        max_digits=18,
        decimal_places=8,
        description="The size of a bucket in the quote currency; buckets begin at its multiples, "
        f"and may be {MOST_BUCKETS} at most.",
    )
    buckets: int | None = Field(
        None,
        ge=1,
        le=MOST_BUCKETS,
        description="The number of buckets between the lowest and the highest price, instead of "
        f"their size. Default: {DEFAULT_BUCKETS}.",
    )

    def require_one(self) -> None:
        """Raises UsageError where size and number are both given."""
        if self.bucket is not None and self.buckets is not None:
            raise UsageError("bucket: give the size of a bucket, or with buckets their number.")
