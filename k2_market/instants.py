"""Instants as people write them: with a zone, or a date for its midnight in UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time

from k2_market.errors import UsageError

YEARS = range(1970, 3000)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})?"
)


def instant(name: str, text: str) -> datetime:
    """The instant that ``text`` says, in UTC. ``name`` is the parameter's, for the message.

    Raises UsageError for a time without a zone: it would be read differently in every place.
    """
    try:
        if _DATE.fullmatch(text):
            return _within(name, datetime.combine(date.fromisoformat(text), time.min, tzinfo=UTC))
        found = _INSTANT.fullmatch(text)
        if found is None:
            raise ValueError
        if found[3] is None:
            raise UsageError(
                f"{name}: {text!r} has no zone, so it names no instant. Add Z for UTC, or an "
                "offset such as +02:00 (in a URL %2B02:00)."
            )
        at = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{name}: {text!r} is not a time. Write 2024-08-08, 2024-08-08T23:55:00Z or "
            "2024-08-08T23:55:00.123456+02:00 (in a URL + is %2B)."
        ) from None
    return _within(name, at)


def _within(name: str, at: datetime) -> datetime:
    if at.year not in YEARS:
        raise UsageError(
            f"{name}: the year {at.year} is outside of {YEARS.start} to {YEARS.stop - 1}."
        )
    return at
