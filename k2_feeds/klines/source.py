"""The contract of an exchange's candles: how they are asked for, and how one is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from k2_feeds.rest import RestClient
from k2_market.errors import RequestRefused
from k2_market.klines import Kline
from k2_market.timeframes import TIMEFRAMES, Timeframe

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """Windows of one symbol that start in [start, end); ``name`` is the live feed's spelling."""

    name: str
    frame: Timeframe
    start: datetime
    end: datetime

    def pages(self, windows: int, longest: timedelta | None = None) -> Iterator[Asked]:
        """The same in stretches of so many windows at most, none longer than ``longest``."""
        step = self.frame.length * windows
        if longest is not None:
            step = min(step, longest)
        start = self.start
        while start < self.end:
            end = min(start + step, self.end)
            yield Asked(self.name, self.frame, start, end)
            start = end


@dataclass(frozen=True)
class KlineSource:
    """How an exchange is asked. ``ask`` gives what it answers, more than was asked for perhaps.

    ``keeps_all``: it answers for whatever time; else only for the newest windows, from its first
    kline on. ``path`` is for people.
    """

    path: str
    ask: Callable[[RestClient, Asked], Iterator[Kline]]
    timeframes: Sequence[str] = tuple(TIMEFRAMES)
    keeps_all: bool = True


def seconds(at: datetime) -> int:
    """Whole seconds since 1970 UTC."""
    return (at - _EPOCH) // timedelta(seconds=1)


def millis(at: datetime) -> int:
    """Whole milliseconds since 1970 UTC."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def instant(micros: int) -> datetime:
    """The instant so many microseconds after 1970 UTC. Raises ValueError beyond the year 9999."""
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError(f"{micros} us is no time of this world") from None


def not_klines(path: str, body: bytes) -> RequestRefused:
    """What to raise where an answer is something else."""
    return RequestRefused(f"GET {path} was answered with no candles: {body[:200]!r}.")
