"""Which state of a table is read: that of now, or as of a snapshot, a tag or an instant.

An instant means the newest snapshot of the lineage that was committed at or before it. What is not
kept any more is refused, never approximated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from k2_lake.history import lineage
from k2_lake.scan import Files, planned
from k2_lake.tables import name_of
from k2_market.errors import UnknownName, UsageError
from k2_market.instants import instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A tag begins with a letter, so that it is never taken for a snapshot id or an instant.
TAG = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_ID = re.compile(r"\d{1,19}")
_DATED = re.compile(r"\d{4}-")


@dataclass(frozen=True)
class AsOf:
    """A moment in the history of tables; one of ``snapshot_id``, ``tag`` and ``at`` is set."""

    text: str
    snapshot_id: int | None = None
    tag: str | None = None
    at: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> AsOf:
        """What a user wrote: digits are a snapshot id, a date or time is an instant, else a tag.

        Raises UsageError for what is none of them, and for an instant without a zone or to come.
        """
        if _ID.fullmatch(text):
            return cls(text, snapshot_id=int(text))
        if _DATED.match(text):
            return cls(text, at=_past(text))
        if TAG.fullmatch(text):
            return cls(text, tag=text)
        raise UsageError(
            f"as of {text!r} is neither a snapshot id, nor a tag, nor an instant such as "
            "2026-03-01T12:00:00Z. `k2 lake snapshots TABLE` lists ids and tags."
        )


def _past(text: str) -> datetime:
    at = instant("as of", text)
    now = datetime.now(UTC)
    if at > now:
        raise UsageError(
            f"as of {text}: that is yet to come (it is {now:%Y-%m-%dT%H:%M:%S}Z), so what it will "
            "show is not known. Give an instant that has passed."
        )
    return at


def committed_at(snapshot: Snapshot) -> datetime:
    """When the snapshot was committed, in UTC with milliseconds."""
    return EPOCH + timedelta(milliseconds=snapshot.timestamp_ms)


def tags(table: Table) -> dict[str, int]:
    """The snapshot id of every tag of the table, by name."""
    refs = table.metadata.refs.items()
    return {
        name: ref.snapshot_id for name, ref in refs if ref.snapshot_ref_type == SnapshotRefType.TAG
    }


def resolve_as_of(table: Table, as_of: AsOf) -> Snapshot | None:
    """The snapshot that is meant, None if the table had not had one by that instant.

    Raises UnknownName for an id or tag that the table does not have, UsageError for an instant
    before all that is kept.
    """
    if as_of.at is not None:
        return _at(table, as_of.at, as_of.text)
    if as_of.snapshot_id is not None:
        return kept_snapshot(table, as_of.snapshot_id)
    known = tags(table)
    if as_of.tag not in known:
        named = known or [f"none; `k2 lake tag {as_of.text} --table {name_of(table)}` makes it"]
        raise UnknownName("tag", f"{as_of.text} of {name_of(table)}", named)
    return kept_snapshot(table, known[str(as_of.tag)])


def kept_snapshot(table: Table, snapshot_id: int) -> Snapshot:
    """The snapshot of that id. Raises UnknownName for one that the table never had or let go."""
    found = table.snapshot_by_id(snapshot_id)
    if found is None:
        raise UnknownName("snapshot", str(snapshot_id), [_kept(table)])
    return found


def planned_as_of(
    table: Table | None,
    schema: pa.Schema,
    as_of: AsOf | None,
    where: BooleanExpression | None = None,
) -> Files:
    """``planned`` at that state; None as the table or the state is "not written yet" or "now"."""
    if table is None:
        return Files(schema, ())
    if as_of is None:
        return planned(table, schema, where)
    snapshot = resolve_as_of(table, as_of)
    if snapshot is None:
        return Files(schema, ())
    return planned(table, schema, where, snapshot.snapshot_id)


def _at(table: Table, at: datetime, text: str) -> Snapshot | None:
    kept = lineage(table)
    for snapshot in kept:
        if committed_at(snapshot) <= at:
            return snapshot
    # Only the very first commit of a table proves that nothing was there before it.
    if not kept or kept[-1].sequence_number == 1:
        return None
    oldest = kept[-1]
    raise UsageError(
        f"as of {text}: {name_of(table)} keeps no snapshot that old; the oldest is "
        f"{oldest.snapshot_id} of {_z(oldest)}, what came before has expired. "
        f"`k2 lake snapshots {name_of(table)}` lists what there is, with the tags that outlive it."
    )


def _kept(table: Table) -> str:
    kept, name = lineage(table), name_of(table)
    if not kept:
        return f"none, {name} has not been written"
    return (
        f"{len(table.metadata.snapshots)} of {name}, from {kept[-1].snapshot_id} ({_z(kept[-1])}) "
        f"to {kept[0].snapshot_id} ({_z(kept[0])}); `k2 lake snapshots {name}` lists them"
    )


def _z(snapshot: Snapshot) -> str:
    return committed_at(snapshot).strftime("%Y-%m-%dT%H:%M:%SZ")
