"""Timeframes of any length, and where their windows begin.

A window is labelled by its start. Minutes, hours and days are counted from 1970-01-01 00:00 UTC:
windows of ``7m`` and ``5h`` begin at multiples of their length. Weeks begin on Monday (ISO 8601),
counted from 1970-01-05; the month, ``1M``, on the 1st.

With a zone, windows of days and longer are local: each begins when midnight of its first day is
reached there, so that a day on which clocks are changed has 23 or 25 hours. They are counted from
the same dates. Instants here are whole microseconds since 1970 UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from math import gcd
from zoneinfo import ZoneInfo, available_timezones

from k2_market.errors import UsageError
from k2_market.timeframes import TIMEFRAMES, Timeframe

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
DAY = timedelta(days=1)
LONGEST = 366 * DAY

_EPOCH_DAY = EPOCH.toordinal()
_MONDAY = date(1970, 1, 5).toordinal()
_MONTH = "1M"
_MONTH_LENGTH = 31 * DAY
_NAME = re.compile(r"([1-9]\d{0,8})([mhdwHDW])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": DAY, "w": 7 * DAY}
_EXAMPLES = (
    "Write a whole number from 1 on and m, h, d or w, of at most 366 days in all, such as 1m, 7m, "
    "4h, 1d or 2w; or 1M for months."
)


@dataclass(frozen=True)
class Grain:
    """Windows that are all equally long, counted from ``offset``."""

    name: str
    length: timedelta
    offset: timedelta = field(default=timedelta(0), kw_only=True)

    @property
    def micros(self) -> int:
        """The length in microseconds."""
        return self.length // US

    def floor(self, us: int) -> int:
        """The start of the window that holds this instant."""
        return us - (us - self.offset // US) % self.micros

    def after(self, start: int) -> int:
        """The start of the window behind the one that begins there: its end."""
        return start + self.micros

    def before(self, start: int) -> int:
        """The start of the window in front of the one that begins there."""
        return self.floor(start - 1)

    def ceil(self, us: int) -> int:
        """The start of the first window that does not begin earlier."""
        start = self.floor(us)
        return start if start == us else self.after(start)

    def starts(self, start: int, end: int) -> Iterator[int]:
        """The starts of the windows that begin in [start, end)."""
        at = self.ceil(start)
        while at < end:
            yield at
            at = self.after(at)

    def stored(self, start: int, end: int) -> Timeframe:  # noqa: ARG002
        """The coarsest stored timeframe that divides each window in [start, end) exactly."""
        return _coarsest(gcd(self.micros, self.offset // US))


@dataclass(frozen=True)
class LocalGrain(Grain):
    """Windows of whole local days: ``days`` of them counted from ``first``, or months where 0.

    ``length`` is nominal.
    """

    zone: ZoneInfo
    days: int
    first: int = _EPOCH_DAY

    def floor(self, us: int) -> int:
        """The start of the window that holds this instant."""
        index = self._index((EPOCH + us * US).astimezone(self.zone).date())
        # Where clocks go back over midnight, a day has begun before its date comes to stay.
        while self._begin(index + 1) <= us:
            index += 1
        while self._begin(index) > us:
            index -= 1
        return self._begin(index)

    def after(self, start: int) -> int:
        """The start of the window behind the one that begins there: its end."""
        index = self._index((EPOCH + start * US).astimezone(self.zone).date())
        # A day that a zone left out, by moving over the date line, has no window.
        while self._begin(index) <= start:
            index += 1
        return self._begin(index)

    def stored(self, start: int, end: int) -> Timeframe:
        """See ``Grain.stored``. Raises UsageError where clocks were off by parts of a minute."""
        years = range((EPOCH + start * US).year - 1, (EPOCH + end * US).year + 2)
        return _coarsest(gcd(*(_midnights(self.zone, year) for year in years)))

    def _index(self, day: date) -> int:
        if not self.days:
            return day.year * 12 + day.month - 1
        return (day.toordinal() - self.first) // self.days

    def _begin(self, index: int) -> int:
        if self.days:
            return _midnight(self.zone, date.fromordinal(self.first + index * self.days))
        return _midnight(self.zone, date(index // 12, index % 12 + 1, 1))


def grain(name: str, tz: str | None = None) -> Grain:
    """The windows of that name, in a zone's days where one is given. Raises UsageError.

    A name that says the same as a stored timeframe, such as 60m, gives the same windows.
    """
    if name == _MONTH:
        return LocalGrain(name, _MONTH_LENGTH, zone=_zone(tz or "UTC"), days=0)
    count, unit = _parts(name)
    length = count * _UNITS[unit]
    if tz is None or (tz == "UTC" and unit in "dw"):
        offset = 4 * DAY if unit == "w" else timedelta(0)
        return Grain(name, length, offset=offset)
    if unit not in "dw":
        raise UsageError(
            f"tz: {name} begins at the same instants in every zone; tz is for days and longer. "
            "Leave it out."
        )
    first = _MONDAY if unit == "w" else _EPOCH_DAY
    return LocalGrain(name, length, zone=_zone(tz), days=length // DAY, first=first)


def _parts(name: str) -> tuple[int, str]:
    found = _NAME.fullmatch(name)
    if found is None or int(found[1]) * _UNITS[found[2].lower()] > LONGEST:
        raise UsageError(f"timeframe: {name[:16]!r} is none. {_EXAMPLES}")
    return int(found[1]), found[2].lower()


def _zone(name: str) -> ZoneInfo:
    if name not in _zones():
        raise UsageError(
            f"tz: {name!r} is no zone of the IANA database. Write one such as Europe/Berlin, "
            "America/New_York or Asia/Kolkata."
        )
    return ZoneInfo(name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _midnight(zone: ZoneInfo, day: date) -> int:
    """When that local day begins: the first of two midnights, and the clock change at none."""
    return (datetime.combine(day, time.min, tzinfo=zone) - EPOCH) // US


@lru_cache(maxsize=4096)
def _midnights(zone: ZoneInfo, year: int) -> int:
    """What divides all midnights of a year."""
    days = range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal())
    return gcd(*(_midnight(zone, date.fromordinal(day)) for day in days))


def _coarsest(divisor: int) -> Timeframe:
    for frame in reversed(TIMEFRAMES.values()):
        if divisor % frame.micros == 0:
            return frame
    raise UsageError(
        "tz: the clocks of this zone were off by parts of a minute in this range, so no day of "
        "theirs is made of whole candles. Ask for a later range, or without tz."
    )
