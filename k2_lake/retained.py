"""Which days a table still holds, and that no day is computed from a source that dropped it.

Retention drops the oldest days of a table. A day that is computed anew from what is left of its
source would lose what it had, as coarse candles would that follow trades kept for a month. So every
table says in its newest snapshot from which day on it holds all that it ever had, and a computation
asks its source before it replaces anything. A dropped day that was made anew from a source that
still holds it is held again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from pyiceberg.expressions import And, LessThan
from pyiceberg.table import Table

from k2_lake.history import RETAINED, Change, carried_value
from k2_lake.scan import of_day, planned
from k2_lake.tables import name_of
from k2_market.errors import DayRetired
from k2_market.kinds import Kind

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Retained:
    """The days that a table holds: from ``start`` on, all where None, and those in ``restored``."""

    start: date | None = None
    restored: frozenset[date] = frozenset()

    def holds(self, day: date) -> bool:
        """Whether the table has all of that day that it ever had."""
        return self.start is None or day >= self.start or day in self.restored

    def holds_all(self, first: date, last: date) -> bool:
        """Whether it holds every day from ``first`` to ``last``, both inclusive."""
        if self.start is None:
            return True
        end = min(last, self.start - ONE_DAY)
        return all(
            first + n * ONE_DAY in self.restored for n in range((end - first) // ONE_DAY + 1)
        )

    def with_restored(self, day: date) -> Retained:
        """The same, holding that day."""
        return self if self.holds(day) else Retained(self.start, self.restored | {day})

    def moved(self, start: date) -> Retained:
        """What is held once all days before ``start`` are dropped."""
        kept = frozenset(d for d in self.restored if d >= start)
        return Retained(start if self.start is None else max(start, self.start), kept)

    def to_extra(self) -> dict[str, str]:
        """The entry for a commit's summary, none where all days are held."""
        if self.start is None:
            return {}
        restored = sorted(d.isoformat() for d in self.restored)
        return {RETAINED: json.dumps({"from": self.start.isoformat(), "restored": restored})}


def retained(table: Table) -> Retained:
    """The days that ``table`` holds, as its lineage says."""
    return _retained(carried_value(table, RETAINED))


def retained_after(change: Change) -> Retained:
    """The days that a table held once this change of it was made."""
    return _retained(change.properties.get(RETAINED))


def _retained(value: str | None) -> Retained:
    if value is None:
        return Retained()
    found = json.loads(value)
    return Retained(
        date.fromisoformat(found["from"]), frozenset(map(date.fromisoformat, found["restored"]))
    )


def gone(tables: Iterable[Table], day: date) -> str | None:
    """Which of the tables no longer hold ``day``, in words; None where all do."""
    told = [
        f"{name_of(table)} keeps days from {kept.start} on"
        for table in tables
        if not (kept := retained(table)).holds(day)
    ]
    return ", ".join(told) or None


def require_held(source: Table, day: date, of: str) -> None:
    """Raise DayRetired unless ``source`` holds ``day``, of which ``of`` is to be computed anew."""
    told = gone([source], day)
    if told is not None:
        raise retired(of, day, told, f"materialize {name_of(source)} of that day first")


def silver_gone(gold: Table, kind: Kind, silver: Iterable[Table], day: date) -> list[Table]:
    """The silver tables that no longer hold all of what ``day`` of gold was made of.

    Rows arrive on their day, by clocks a day before, or later. So silver holds them all where it
    has kept every day since; or else where gold has none that arrived on a day silver has dropped.
    """
    found = []
    for table in silver:
        kept = retained(table)
        if kept.start is None or kept.holds_all(day - ONE_DAY, kept.start):
            continue
        exchange = name_of(table).removeprefix("silver.").removesuffix(f"_{kind}")
        dropped = And(
            of_day(kind.record.day, day, [exchange]),
            LessThan("ingest_date", kept.start),
        )
        if not retained(gold).holds(day) or planned(gold, kind.record.schema, dropped).files:
            found.append(table)
    return found


def require_silver(gold: Table, kind: Kind, silver: Iterable[Table], day: date) -> None:
    """Raise DayRetired where silver no longer holds all that ``day`` of gold was made of."""
    missing = silver_gone(gold, kind, silver, day)
    if missing:
        told = ", ".join(f"{name_of(t)} keeps days from {retained(t).start} on" for t in missing)
        first = f"materialize it for all days from {day - ONE_DAY} on first"
        raise retired(name_of(gold), day, told, first)


def retired(table: str, day: date, told: str, restore: str) -> DayRetired:
    """The refusal to compute a day anew; ``restore`` says how its source may be had again."""
    return DayRetired(
        f"{table} of {day} cannot be computed anew from what is left of its source: {told}. It was "
        f"left as it is. Leave it so; or, where what that was made of is still kept, {restore}."
    )
