"""Instants as people hand them over: aware datetimes, dates (midnight in UTC), ISO 8601 texts."""

from __future__ import annotations

from datetime import UTC, date, datetime

from k2_market.errors import UsageError
from k2_market.instants import instant

When = datetime | date | str
Day = date | str


def instant_text(name: str, at: When) -> str:
    """The instant as the API reads it. ``name`` is the parameter's, for the message.

    Raises UsageError for a datetime or a text without a zone, and for what is no time.
    """
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise UsageError(
                f"{name}: {at!r} has no zone, so it names no instant. Say which: "
                "datetime(..., tzinfo=UTC), or at.astimezone() for this machine's own."
            )
        return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(at, date):
        return at.isoformat()
    instant(name, at)
    return at


def day_text(name: str, day: Day) -> str:
    """The UTC day as the API reads it. Raises UsageError."""
    if isinstance(day, datetime):
        raise UsageError(f"{name}: {day!r} is an instant. Give a date, such as at.date().")
    if isinstance(day, date):
        return day.isoformat()
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError:
        raise UsageError(f"{name}: {day!r} is no day. Write 2024-08-08.") from None
