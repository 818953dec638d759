"""Which instruments should have rows on a day: by what is configured and by the days around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from k2_market.conditions import DayFigures, Instrumented
from k2_market.kinds import Kind

# An instrument that was recorded within so many days before and after was meant to be all along.
AROUND = timedelta(days=7)

# A row of gold.day_condition.
Row = dict[str, Any]
RecordedDays = Mapping[Instrumented, Sequence[date]]


@dataclass(frozen=True)
class Configured:
    """What is meant to be recorded, and the first day on which it was."""

    instruments: Collection[Instrumented] = ()
    since: date | None = None

    def on(self, day: date) -> set[Instrumented]:
        """What is meant to be recorded on that day."""
        return set() if self.since is None or day < self.since else set(self.instruments)


def recorded_days(rows: Iterable[Row]) -> RecordedDays:
    """The days on which each instrument has rows, as these conditions tell."""
    found: dict[Instrumented, list[date]] = defaultdict(list)
    for row in rows:
        days = found[instrumented(row)]
        if row["rows"]:
            days.append(row["day"])
    return found


def expectation(what: Instrumented, day: date, days: RecordedDays, configured: Configured) -> str:
    """Why there should be rows of an instrument on that day; "" where nothing says so."""
    before, after = neighbours(what, day, days)
    if before is not None and after is not None:
        return f"it was recorded on {before} and on {after}"
    return "instruments.yaml lists it" if what in configured.on(day) else ""


def neighbours(
    what: Instrumented, day: date, days: RecordedDays
) -> tuple[date | None, date | None]:
    """The nearest days before and after on which there are rows of it, within a week."""
    near = [d for d in days.get(what, ()) if abs(d - day) <= AROUND]
    before = max((d for d in near if d < day), default=None)
    return before, min((d for d in near if d > day), default=None)


def instrumented(row: Mapping[str, Any]) -> Instrumented:
    """What a row is about."""
    return Instrumented(row["exchange"], row["symbol"], Kind(row["kind"]))


def figures_of(row: Mapping[str, Any]) -> DayFigures:
    """What a row counts."""
    return DayFigures(**{name: row[name] for name in DayFigures.__dataclass_fields__})
