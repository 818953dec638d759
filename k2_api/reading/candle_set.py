"""The candles that can be asked for: which windows, and the stored table that they are made from.

A row has one field more than the table: ``final`` (see there).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from math import ceil

import pyarrow as pa

from k2_api.questions.candles import CandleParameters
from k2_api.questions.timeframes import EPOCH, US, Grain, LocalGrain, grain
from k2_api.reading.datasets import DEFAULT_WINDOWS, Dataset
from k2_lake.tables import candle_name
from k2_market.records import CANDLE, Record, field
from k2_market.timeframes import Timeframe

CONSOLIDATED = "consolidated"
ORDER = ("exchange", "symbol", "window_start")
# What a window without trades does not have.
NOT_FILLED = ("first_trade_id", "last_trade_id")

_MICROS_A_DAY = 86_400_000_000
# By default nothing is asked for that lies before 1970.
_MOST_DAYS_BEFORE = 20_000

_FINAL = field("final", pa.bool_(), "Whether the window is over, and its trades are in the table.")
_FILLED = field(
    "filled", pa.bool_(), "Whether the window had no trade; there with fill=prev alone."
)


def _with(*more: pa.Field, optional: tuple[str, ...] = ()) -> Record:  # type: ignore[type-arg]
    kept = [f.with_nullable(True) if f.name in optional else f for f in CANDLE.schema]
    return replace(CANDLE, schema=pa.schema([*kept, *more]))


CANDLE_ROW = _with(_FINAL)
FILLED_ROW = _with(_FINAL, _FILLED, optional=NOT_FILLED)


@dataclass(frozen=True, kw_only=True)
class CandleSet(Dataset):
    """Candles of the windows of ``grain``, made from those of ``source``."""

    grain: Grain
    source: Timeframe
    filled: bool
    consolidated: bool

    @property
    def record(self) -> Record:
        """The record of a row."""
        return FILLED_ROW if self.filled else CANDLE_ROW

    @property
    def question(self) -> str:
        """See ``Dataset.question``."""
        return f"{self.table} in {self.grain.name}"

    @cached_property
    def stored(self) -> bool:
        """Whether the table holds these very windows."""
        same = self.grain.micros == self.source.micros and not isinstance(self.grain, LocalGrain)
        return same and not self.consolidated


def candle_set(timeframe: str, said: CandleParameters) -> CandleSet:
    """The candles of that timeframe as they are asked for. Raises UsageError."""
    windows = grain(timeframe, said.tz)
    source = windows.stored(*_reach(windows, said))
    days = ceil(DEFAULT_WINDOWS * windows.micros / _MICROS_A_DAY) - 1
    return CandleSet(
        candle_name(source.name),
        ORDER,
        "window_start",
        in_days=True,
        days_before=min(days, _MOST_DAYS_BEFORE),
        grain=windows,
        source=source,
        filled=said.fill == "prev",
        consolidated=said.consolidated,
    )


def _reach(windows: Grain, said: CandleParameters) -> tuple[int, int]:
    """From where to where windows can hold anything: nothing was traded after now."""
    start, end = said.range()
    now = datetime.now(UTC)
    last = min(end or now, now)
    first = min(start or EPOCH, last)
    return micros(first), micros(last) + windows.micros


def day_of(us: int) -> date:
    """The UTC day of an instant in microseconds."""
    return (EPOCH + us * US).date()


def micros(at: datetime) -> int:
    """The instant in microseconds since 1970."""
    return (at - EPOCH) // US
