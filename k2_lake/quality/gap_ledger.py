"""What becomes of the gaps on record when one looks again: pure rules over ranges of ids.

What is open is always exactly what is missing now: the same whether it was looked at tick by tick
or in one go. What was open and is no longer missing stays on record as repaired, piece by piece.
A piece of a gap keeps the gap's cause, state and time of detection, for its new neighbour only
came to fill it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What is to be done about a gap."""

    OPEN = "open"
    REPAIRED = "repaired"
    UNREPAIRABLE = "unrepairable"


class Cause(StrEnum):
    """How a gap came about."""

    DISCONNECT = "disconnect"
    ROTATION = "rotation"
    EXCHANGE = "exchange"
    LOSS = "loss"
    UNRECORDED = "unrecorded"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Gap:
    """A row of ``gold.gaps``; both ids are inclusive."""

    exchange: str
    symbol: str
    first_missing_id: int
    last_missing_id: int
    before_at: datetime
    after_at: datetime
    cause: str
    state: str
    detected_at: datetime
    reason: str | None = None
    repaired_at: datetime | None = None

    @property
    def missing(self) -> int:
        """How many trades."""
        return self.last_missing_id - self.first_missing_id + 1

    @property
    def gap_date(self) -> date:
        """The UTC trade day of the neighbour before."""
        return self.before_at.date()

    def given_up(self, reason: str) -> Gap:
        """The same, known to be beyond repair."""
        return replace(self, state=State.UNREPAIRABLE.value, reason=reason)

    def row(self) -> dict[str, Any]:
        """The same with the names of the record."""
        return {**vars(self), "missing": self.missing, "gap_date": self.gap_date}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Gap:
        """The inverse of ``row``."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class Hole(Gap):
    """A gap that is there now, with the places of its neighbours' frames in bronze.

    A place is epoch, partition and offset; ``received`` is when the two were received, the earlier
    first.
    """

    before: tuple[int, int, int]
    after: tuple[int, int, int]
    received: tuple[datetime, datetime]

    def gap(self, cause: str) -> Gap:
        """What goes on record of it."""
        return Gap.of({**vars(self), "cause": cause})


def settle(
    recorded: Sequence[Gap],
    missing: Sequence[Hole],
    received_at: Callable[[int, int], datetime | None],
) -> tuple[list[Gap], list[Hole]]:
    """What stays or becomes of the gaps on record for one symbol, and the gaps that are new.

    ``recorded`` are those in a stretch of ids of which ``missing`` is all that is missing now;
    ``received_at`` tells when the last of a range of ids was received, None if none of them is
    there: a gap whose neighbour was taken back lies between no two trades any more, and stands.
    """
    standing = [gap for gap in recorded if gap.state != State.REPAIRED]
    kept = [
        gap
        for gap in recorded
        if gap.state == State.REPAIRED and not any(_overlap(gap, hole) for hole in missing)
    ]
    new: list[Hole] = []
    for hole in missing:
        parent = next((gap for gap in standing if _within(hole, gap)), None)
        if parent is None:
            new.append(hole)
        else:
            kept.append(_inherited(hole, parent))
    for gap in standing:
        for first, last in _present(gap, missing):
            piece = replace(gap, first_missing_id=first, last_missing_id=last)
            at = received_at(first, last)
            kept.append(piece if at is None else _repaired(piece, at))
    return kept, new


def _inherited(hole: Gap, parent: Gap) -> Gap:
    if _bounds(hole) == _bounds(parent):
        return parent
    return replace(
        parent,
        first_missing_id=hole.first_missing_id,
        last_missing_id=hole.last_missing_id,
        before_at=hole.before_at,
        after_at=hole.after_at,
    )


def _repaired(gap: Gap, at: datetime) -> Gap:
    return replace(gap, state=State.REPAIRED.value, reason=None, repaired_at=at)


def _present(gap: Gap, missing: Iterable[Gap]) -> Iterator[tuple[int, int]]:
    """The ranges of ids of ``gap`` that are in none of ``missing``, which is in order."""
    first = gap.first_missing_id
    for hole in missing:
        if not _overlap(gap, hole):
            continue
        if first < hole.first_missing_id:
            yield first, hole.first_missing_id - 1
        first = hole.last_missing_id + 1
    if first <= gap.last_missing_id:
        yield first, gap.last_missing_id


def _bounds(gap: Gap) -> tuple[int, int]:
    return gap.first_missing_id, gap.last_missing_id


def _within(inner: Gap, outer: Gap) -> bool:
    return (
        outer.first_missing_id <= inner.first_missing_id
        and inner.last_missing_id <= outer.last_missing_id
    )


def _overlap(one: Gap, other: Gap) -> bool:
    return (
        one.first_missing_id <= other.last_missing_id
        and other.first_missing_id <= one.last_missing_id
    )
