"""Expiry: old snapshots are forgotten, so that a commit costs the same after a year as on day one.

What is still needed stays: the newest snapshots, those with a name, those that a table made from
this one has yet to follow, and the newest that tells how far the table is. Only the oldest end of
the lineage is cut off, so what is kept has no holes. No file is deleted here: see ``garbage``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot, ancestors_of
from pyiceberg.table.update import RemoveSnapshotsUpdate, ValidatableTableRequirement

from k2_lake.catalog import Lake
from k2_lake.commit import committed, retry_conflicts
from k2_lake.engine import Procedures
from k2_lake.history import PROGRESS, lineage, snapshot_at
from k2_lake.maintenance.garbage import GRACE, require_whole
from k2_lake.maintenance.ledger import Begun, figures_of, record
from k2_lake.maintenance.waiting import followers
from k2_lake.read_sql import existing_table
from k2_lake.tables import name_of
from k2_market.errors import InvariantBroken
from k2_market.maintenance import Action, Deed, Figures

# A commit takes 29 ms with 10 snapshots, 184 with 200, 1.4 s with 1,000: nearly all of it copies.
KEEP = 100
# Checks look at what their run committed: that must be there for as long as a run takes.
YOUNG = timedelta(minutes=15)
# Removing n of m snapshots takes n x m comparisons.
AT_ONCE = 1_000


class _StillNameless(ValidatableTableRequirement):
    """The snapshots to be removed are still there, and none was given a name in the meantime.

    PyIceberg itself would remove the name along with the snapshot.
    """

    type: Literal["assert-k2-nameless"] = "assert-k2-nameless"
    snapshot_ids: frozenset[int]

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]
        """See PyIceberg: asked at the moment of the commit, of the table as it is then."""
        known = {s.snapshot_id for s in base_metadata.snapshots} if base_metadata else set()
        if gone := self.snapshot_ids - known:
            raise CommitFailedException(f"snapshot {min(gone)} is gone already")
        for name, ref in (base_metadata.refs if base_metadata else {}).items():
            if ref.snapshot_id in self.snapshot_ids:
                raise CommitFailedException(f"{name} names snapshot {ref.snapshot_id} now")


def expire(
    lake: Lake,
    name: str,
    *,
    keep: int = KEEP,
    young: timedelta = YOUNG,
    dry_run: bool = False,
    procedures: Procedures | None = None,
) -> Deed | None:
    """Forget the snapshots of a table that nobody needs; None if there are none.

    ``keep`` is how many of the newest stay, beside those younger than ``young``. What was done, or
    with ``dry_run`` would be, goes on record. Iceberg's ``procedures`` delete files at once, so
    they get only what is as old as garbage must be. Raises UnknownName, and with them FileBroken.
    """
    table = existing_table(lake, name)
    if table is None:
        return None
    ids = expirable(lake, table, keep, young)
    if not ids:
        return None
    before = figures_of(table)
    begun = Begun(name, Action.EXPIRE, before, dry_run=dry_run)
    after = _without(before, len(ids)) if dry_run else _expire(lake, name, keep, young, procedures)
    deed = begun.done(after)
    record(lake, [deed])
    return deed


def expirable(lake: Lake, table: Table, keep: int, young: timedelta) -> list[int]:
    """The ids of the snapshots that nobody needs, oldest first."""
    chain = lineage(table)
    kept = chain[: _needed(lake, table, chain, keep, datetime.now(UTC) - young)]
    spared = {s.snapshot_id for s in kept} | _named(table)
    return [s.snapshot_id for s in _by_age(table) if s.snapshot_id not in spared]


@retry_conflicts
def _expire(
    lake: Lake, name: str, keep: int, young: timedelta, procedures: Procedures | None
) -> Figures:
    """The oldest first and some at a time: stopped anywhere, what is left is a sound lineage."""
    table = lake.table(name)
    if procedures is not None and (aged := _aged(table, expirable(lake, table, keep, young))):
        require_whole(table)
        procedures.expire(table, aged)
        table = lake.table(name)
    ids = expirable(lake, table, keep, young)
    for start in range(0, len(ids), AT_ONCE):
        _remove(table, ids[start : start + AT_ONCE])
    return figures_of(table)


def _aged(table: Table, ids: Iterable[int]) -> list[int]:
    """Those of them all whose files are old enough for garbage."""
    oldest = (datetime.now(UTC) - GRACE).timestamp() * 1000
    made = {s.snapshot_id: s.timestamp_ms for s in table.metadata.snapshots}
    return [i for i in ids if made[i] < oldest]


def _remove(table: Table, ids: list[int]) -> None:
    transaction = table.transaction()
    update = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": ids})
    nameless: Any = _StillNameless(snapshot_ids=frozenset(ids))
    transaction._stage((update,), (nameless,))
    with committed(table):
        transaction.commit_transaction()


def _needed(lake: Lake, table: Table, chain: Sequence[Snapshot], keep: int, since: datetime) -> int:
    """How many of the newest snapshots must stay."""
    young = sum(s.timestamp_ms >= since.timestamp() * 1000 for s in chain)
    followed = [
        _place_of(table, chain, d.through) for d in followers(lake, name_of(table)).values()
    ]
    return max(keep, young, 1, *followed, *(_newest_with(chain, key) for key in PROGRESS))


def _place_of(table: Table, chain: Sequence[Snapshot], through: int) -> int:
    """How many of the newest are those after ``through`` and the state as of it."""
    try:
        at = snapshot_at(table, through)
    except InvariantBroken:
        return len(chain)
    newest = [s.snapshot_id for s in chain]
    return len(chain) if at is None else newest.index(at) + 1


def _newest_with(chain: Iterable[Snapshot], key: str) -> int:
    for place, snapshot in enumerate(chain, 1):
        if snapshot.summary is not None and key in snapshot.summary.additional_properties:
            return place
    return 0


def _named(table: Table) -> set[int]:
    """Tagged snapshots, and those of other branches than the one that K2 writes."""
    found = {ref.snapshot_id for ref in table.metadata.refs.values()}
    for name, ref in table.metadata.refs.items():
        if name != "main" and ref.snapshot_ref_type is SnapshotRefType.BRANCH:
            head = table.metadata.snapshot_by_id(ref.snapshot_id)
            found |= {s.snapshot_id for s in ancestors_of(head, table.metadata)}
    return found


def _by_age(table: Table) -> list[Snapshot]:
    return sorted(table.metadata.snapshots, key=lambda s: s.sequence_number or 0)


def _without(figures: Figures, snapshots: int) -> Figures:
    return Figures(**{**vars(figures), "snapshots": figures.snapshots - snapshots})
