"""What a request may say of candles."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from k2_api.questions.parameters import RangeParameters
from k2_market.errors import TooLarge

MOST_QUESTIONS = 20
MOST_ROWS = 20_000
TIMEFRAME = (
    "A whole number and m, h, d or w, such as 1m, 7m, 4h, 1d or 2w, or 1M for months. Windows are "
    "counted from 1970-01-01 UTC, weeks from a Monday."
)


class CandleParameters(RangeParameters):
    """The parameters of candles."""

    tz: str | None = Field(
        None,
        max_length=64,
        description="A zone of the IANA database, such as Europe/Berlin, for days and longer: "
        "windows begin at midnight there, and a day has 23 or 25 hours where clocks are changed. "
        "Default: UTC.",
    )
    fill: Literal["none", "prev"] = Field(
        "none",
        description="prev: windows without a trade, between the first and the last window with "
        "trades of an instrument in the range, are there with the close before them, volumes and "
        "trade_count 0 and `filled` true.",
    )
    consolidated: bool = Field(
        False,
        description="true: one candle for a symbol across the exchanges asked for. The earliest "
        "trade opens it, the latest closes it; of equal times the exchange that is first by name "
        "opens, the last closes. Ids are told as exchange:id.",
    )


class CandleQuestion(CandleParameters):
    """One question of a batch: the timeframe, and what `/v1/ohlcv/{timeframe}` takes."""

    # JSON has numbers and booleans of its own: nothing needs to be read out of texts, as in a URL.
    model_config = ConfigDict(strict=True)

    timeframe: str = Field(max_length=16, description=TIMEFRAME)
    format: None = Field(None, description="A batch is answered in JSON.")

    @property
    def parameters(self) -> CandleParameters:
        """The question as it is asked alone, so that cursors are those of it."""
        return CandleParameters.model_validate(self.model_dump(exclude={"timeframe"}))


class CandleBatch(BaseModel):
    """Several questions in one request."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"requests": [{"timeframe": "1h", "symbol": "BTC-USDT", "exchange": "binance"}]}
            ]
        },
    )

    requests: list[CandleQuestion] = Field(min_length=1, max_length=MOST_QUESTIONS)

    def require_bounded(self) -> None:
        """Raises TooLarge where all together ask for too many rows."""
        rows = sum(question.limit for question in self.requests)
        if rows > MOST_ROWS:
            raise TooLarge(
                f"the limits of the requests add up to {rows:,} rows; a batch answers with "
                f"{MOST_ROWS:,} at most. Lower the limits, and go on with next_cursor."
            )
