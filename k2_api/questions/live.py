"""What a request for live events may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LiveParameters(BaseModel):
    """The parameters of live events. One that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    channels: str = Field(
        "trades", max_length=256, description="trades, quotes; several with commas."
    )
    exchange: str = Field(max_length=512, description="Such as binance; several with commas.")
    symbol: str = Field(
        max_length=2048, description="Such as BTC-USDT, in any spelling; several with commas."
    )
    cursor: str | None = Field(
        None,
        max_length=4096,
        description="The id of the last event received: what came after it follows. Default: now.",
    )
