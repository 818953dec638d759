"""What a request may say of candles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from k2_api.questions.parameters import RangeParameters


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
