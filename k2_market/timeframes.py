"""The five timeframes and the arithmetic of their windows.

A window is [start, start + length) in UTC and is labelled by its start. All lengths divide a day
and each divides the next, so every window lies within one UTC day and is a union of finer ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from k2_market.errors import UnknownName


@dataclass(frozen=True)
class Timeframe:
    """A length of candle. ``source`` is the next finer one, None for the one made of trades."""

    name: str
    length: timedelta
    source: str | None

    @property
    def micros(self) -> int:
        """The length in microseconds."""
        return self.length // timedelta(microseconds=1)


TIMEFRAMES: dict[str, Timeframe] = {
    t.name: t
    for t in (
        Timeframe("1m", timedelta(minutes=1), None),
        Timeframe("5m", timedelta(minutes=5), "1m"),
        Timeframe("30m", timedelta(minutes=30), "5m"),
        Timeframe("1h", timedelta(hours=1), "30m"),
        Timeframe("1d", timedelta(days=1), "1h"),
    )
}


def timeframe(name: str) -> Timeframe:
    """The timeframe of that name. Raises UnknownName."""
    try:
        return TIMEFRAMES[name]
    except KeyError:
        raise UnknownName("timeframe", name, TIMEFRAMES) from None


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """First instant of the UTC day and of the next one."""
    start = datetime.combine(day, time.min, tzinfo=UTC)
    return start, start + timedelta(days=1)
