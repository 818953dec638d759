"""What a snapshot's summary says of the commit, and what a table made from another has consumed.

Every commit of K2 carries in its summary the mode, the days it touched and how far it has consumed
each source. So progress and rows are one atomic fact: there is no state beside the tables that
could disagree with them after a kill, and a rollback rewinds both.

Order among the snapshots of a table is Iceberg's sequence number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_lake.tables import name_of
from k2_market.errors import HistoryGone

MODE, DAYS, SOURCES, FIGURES = "k2.mode", "k2.days", "k2.sources", "k2.figures"
KAFKA = "k2.kafka"
# From where to where a tick's candles reach, for people and checks.
WINDOWS = "k2.windows"
# Which of them changed (k2_lake/windows.py).
WINDOWS_CHANGED = "k2.windows_changed"
# Which days the table still holds (k2_lake/retained.py).
RETAINED = "k2.retained"
# Up to where a table has seen what changed in others of which it needs no commit (day conditions).
SEEN = "k2.seen"
# The snapshot that a rollback went back to.
ROLLED_BACK_TO = "k2.rolled_back_to"

# Of the keys above, those that tell how far the table is: every commit carries their newest values,
# so that the current snapshot alone says it, whatever becomes of older ones.
PROGRESS = frozenset({SOURCES, SEEN, KAFKA, RETAINED})
# And those that tell of one commit, and mean nothing for the next.
OF_A_COMMIT = frozenset({MODE, DAYS, FIGURES, WINDOWS, WINDOWS_CHANGED, ROLLED_BACK_TO})


class Mode(StrEnum):
    """How a commit changed its table."""

    APPEND = "append"
    """Rows were added; those that were there stay as they were."""

    RECOMPUTE = "recompute"
    """The named days were computed anew: whoever consumed them must compute them anew too."""

    MAINTENANCE = "maintenance"
    """Files changed, rows did not."""

    RETENTION = "retention"
    """The named days were dropped because of their age: whoever consumed them keeps its own."""


# What no consumer follows.
UNFOLLOWED = (Mode.MAINTENANCE, Mode.RETENTION)


@dataclass(frozen=True)
class Change:
    """One commit of a source, as its consumers see it."""

    sequence: int
    snapshot: Snapshot
    mode: Mode
    days: frozenset[date]

    @property
    def properties(self) -> Mapping[str, str]:
        """What the commit's summary says."""
        summary = self.snapshot.summary
        return {} if summary is None else summary.additional_properties


@dataclass(frozen=True)
class Consumed:
    """How much of a source a table contains.

    Every change up to sequence ``through`` is in, whatever its day; for the days in ``ahead``,
    every change up to the sequence given there.
    """

    through: int = 0
    ahead: Mapping[date, int] = field(default_factory=dict)

    def of(self, day: date) -> int:
        """The sequence up to which that day is complete."""
        return max(self.through, self.ahead.get(day, 0))

    def pending(self, changes: Iterable[Change]) -> dict[date, list[Change]]:
        """The days with changes not consumed yet, each with those changes, oldest first."""
        found: dict[date, list[Change]] = {}
        for change in changes:
            for day in change.days:
                if change.sequence > self.of(day):
                    found.setdefault(day, []).append(change)
        return found

    def after(self, day: date, changes: Iterable[Change], head: int) -> Consumed:
        """What is consumed once ``day`` has been computed from the source at sequence ``head``.

        ``changes`` are those after ``through``. ``through`` moves over every leading change whose
        days are all complete, so that ``ahead`` stays as short as the work outstanding.
        """
        ahead = {**self.ahead, day: head}
        through = self.through
        for change in changes:
            if any(max(through, ahead.get(d, 0)) < change.sequence for d in change.days):
                break
            through = change.sequence
        else:
            # Nothing is outstanding, so what else the source has committed by then counts as well.
            through = max(through, head)
        return Consumed(through, {d: s for d, s in ahead.items() if s > through})

    def to_json(self) -> dict[str, object]:
        """A form for the summary."""
        return {"through": self.through, "ahead": {d.isoformat(): s for d, s in self.ahead.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Consumed:
        """The inverse of ``to_json``."""
        return cls(value["through"], {date.fromisoformat(d): s for d, s in value["ahead"].items()})


def distinct_days(column: pa.ChunkedArray[Any]) -> list[date]:
    """The days that occur in a date column."""
    days: list[Any] = pc.unique(column).to_pylist()
    return days


def lineage(table: Table) -> list[Snapshot]:
    """The current snapshot and its ancestors that are still kept, newest first."""
    return list(lineage_from_head(table))


def lineage_from_head(table: Table) -> Iterator[Snapshot]:
    """The same one by one."""
    # PyIceberg's own walk searches all snapshots for every parent.
    kept = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    snapshot = table.current_snapshot()
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else kept.get(parent)


def head_sequence(table: Table) -> int:
    """The sequence number of the current snapshot, 0 for a table without one."""
    head = table.current_snapshot()
    return 0 if head is None else (head.sequence_number or 0)


def snapshot_at(table: Table, sequence: int) -> int | None:
    """The id of the newest snapshot not newer than ``sequence``, None if the table had none then.

    Raises HistoryGone when it has been expired.
    """
    oldest = None
    for oldest in lineage(table):
        if (oldest.sequence_number or 0) <= sequence:
            return oldest.snapshot_id
    if sequence:
        _require_kept(table, oldest, sequence - 1)
    return None


def progress(table: Table) -> dict[str, str]:
    """The newest values in the lineage of all that tells how far the table is."""
    found: dict[str, str] = {}
    for snapshot in lineage(table):
        properties = {} if snapshot.summary is None else snapshot.summary.additional_properties
        found = {k: v for k, v in properties.items() if k in PROGRESS} | found
        if found.keys() >= PROGRESS:
            break
    return found


def summary_value(table: Table, key: str, at: int | None = None) -> str | None:
    """The newest value of that key in the lineage, None if no kept snapshot has it.

    With ``at`` the newest one not newer than that sequence.
    """
    for snapshot in lineage(table):
        if at is not None and (snapshot.sequence_number or 0) > at:
            continue
        if snapshot.summary is not None and key in snapshot.summary.additional_properties:
            return snapshot.summary.additional_properties[key]
    return None


def carried_value(table: Table, key: str) -> str | None:
    """The value of a key that every commit of K2 carries on, None if it was never set.

    What another writer committed since has none of K2's keys and is passed over.
    """
    for snapshot in lineage_from_head(table):
        if snapshot.summary is not None and MODE in snapshot.summary.additional_properties:
            return snapshot.summary.additional_properties.get(key)
    return None


def consumed(table: Table, at: int | None = None) -> dict[str, Consumed]:
    """By source table, what ``table`` contains of it: now, or at that sequence of its own."""
    value = summary_value(table, SOURCES, at)
    return {} if value is None else {k: Consumed.from_json(v) for k, v in json.loads(value).items()}


def changes_since(table: Table, sequence: int) -> list[Change]:
    """The changes of ``table`` after that sequence, oldest first, without those of ``UNFOLLOWED``.

    Raises HistoryGone when snapshots have been expired that a consumer still needed.
    """
    return [c for c in commits_since(table, sequence) if c.mode not in UNFOLLOWED and c.days]


def commits_since(table: Table, sequence: int) -> list[Change]:
    """All commits of ``table`` after that sequence, oldest first. Raises as ``changes_since``."""
    found: list[Change] = []
    for snapshot in lineage(table):
        if (snapshot.sequence_number or 0) <= sequence:
            break
        found.append(change_of(snapshot))
    else:
        _require_kept(table, found[-1].snapshot if found else None, sequence)
    return found[::-1]


def change_of(snapshot: Snapshot) -> Change:
    """What that commit did; another writer's counts as a recompute."""
    properties = {} if snapshot.summary is None else snapshot.summary.additional_properties
    return Change(
        sequence=snapshot.sequence_number or 0,
        snapshot=snapshot,
        mode=Mode(properties.get(MODE, Mode.RECOMPUTE)),
        days=frozenset(date.fromisoformat(d) for d in json.loads(properties.get(DAYS, "[]"))),
    )


def _require_kept(table: Table, oldest: Snapshot | None, sequence: int) -> None:
    """Sequence numbers tell, for expiry makes the oldest snapshot it keeps look like the first."""
    if oldest is None or (oldest.sequence_number or 0) <= sequence + 1:
        return
    raise HistoryGone(
        f"{name_of(table)} keeps no snapshot older than sequence "
        f"{oldest.sequence_number}, but a table made from it has consumed only up to {sequence}."
    )
