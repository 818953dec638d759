"""What to do about commits that a table had yet to follow, and that are gone.

Expiry keeps them, so this is the work of others: a lake restored from a backup, a table rolled back
or expired by another tool. Which rows came and went is no longer known, but files tell by their
sequence number which days may have changed. Ticks refuse to go on and name those days; computing
them anew, which is a person's decision, makes the record whole again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import cast

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import DateType

from k2_lake.faults import planning
from k2_lake.history import Change, Consumed, Mode, changes_since, head_sequence, lineage
from k2_lake.tables import name_of
from k2_market.errors import HistoryGone

# Before every commit there is: nothing can be followed from here, and no snapshot may expire.
NOWHERE = Consumed(-1)
_EPOCH = date(1970, 1, 1)
_SHOWN = 10


@dataclass(frozen=True)
class Followed:
    """Of a source: what is ``done``, and the ``changes`` since."""

    done: Consumed
    changes: list[Change]


def follow(
    source: Table, done: Consumed, *, of: str, day: str, recompute: bool = False
) -> Followed:
    """The changes of ``source`` that the table ``of`` has not followed, ``day`` being their day.

    Where commits are gone, they count as one recompute of all days that may have changed; for a
    ``recompute``, that is, and once there are no such days left. Else raises HistoryGone with the
    days.
    """
    try:
        _require_not_behind(source, done, of)
        return Followed(done, changes_since(source, done.through))
    except HistoryGone as gone:
        rest = _rest(source, done, day)
        days = sorted(rest.done.pending(rest.changes))
        if recompute or not days:
            return rest
        more = f" and {len(days) - _SHOWN} more" if len(days) > _SHOWN else ""
        shown = ", ".join(str(d) for d in days[:_SHOWN])
        raise HistoryGone(
            f"{gone} Was it restored, or expired by another tool? Which rows changed is not known "
            f"any more. Materialize {of} of these days in the Dagster UI: {shown}{more}."
        ) from None


def _require_not_behind(source: Table, done: Consumed, of: str) -> None:
    """Raise HistoryGone if ``source`` ends before what was consumed of it.

    One that was opened before the consumer went on only seems to.
    """
    if done.through > head_sequence(source):
        now = source.catalog.load_table(source.name())
        if done.through > head_sequence(now):
            raise HistoryGone(
                f"{name_of(source)} ends with sequence {head_sequence(now)}, but {of} has consumed "
                f"it up to {done.through}."
            )


def _rest(source: Table, done: Consumed, day: str) -> Followed:
    chain = lineage(source)
    if not chain:
        return Followed(Consumed(), [])
    behind = done.through > head_sequence(source)
    known = NOWHERE if behind else done
    at = chain[0] if behind else chain[-1]
    with planning(source, [at]):
        days = frozenset(_days_since(source, at, known.through, day))
    sequence = at.sequence_number or 0
    whole = Change(sequence, at, Mode.RECOMPUTE, days)
    return Followed(known, [whole, *changes_since(source, sequence)])


def _days_since(source: Table, at: Snapshot, sequence: int, day: str) -> Iterator[date]:
    """The days of the rows in files that came after ``sequence`` and were there at a snapshot."""
    column = source.schema().find_field(day).field_id
    for manifest in at.manifests(source.io):
        for entry in manifest.fetch_manifest_entry(source.io, discard_deleted=True):
            if (entry.sequence_number or 0) > sequence:
                yield from _days(entry.data_file, column)


def _days(file: DataFile, column: int) -> Iterator[date]:
    """All days from the first to the last; mostly that is one."""
    bounds = (file.lower_bounds or {}, file.upper_bounds or {})
    first, last = (cast("int", from_bytes(DateType(), bound[column])) for bound in bounds)
    for n in range(first, last + 1):
        yield _EPOCH + timedelta(days=n)
