"""Named snapshots: one name over all tables, so chosen that what bears it belongs together.

Of the tables that make up the chain (bronze, silver, gold, candles) a tag takes the newest state of
the last ones, and of every other the snapshot that these were made from, followed through what each
has consumed. So nothing under a tag comes from rows that the tag lacks. Where a day of a source was
not consumed yet, the source's snapshot has more than was made of it: those days are told.

A tag is kept by Iceberg itself: expiry never takes a snapshot that bears one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_lake.catalog import Lake
from k2_lake.commit import retry_conflicts
from k2_lake.history import Consumed, changes_since, consumed, lineage
from k2_lake.read_sql import existing_table
from k2_lake.tables import (
    TABLES,
    candle_name,
    consumers_of,
    gold_name,
    name_of,
    silver_name,
    table_def,
)
from k2_lake.travel.as_of import TAG, tags
from k2_lake.travel.snapshots import state_up_to
from k2_market.errors import CommitConflict, InvariantBroken, UnknownName, UsageError
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES

RESERVED = "main"

# Those that are made at once of what they consume, the last ones first. Any other table that
# follows one of them may lag behind, and holds nobody back.
_MADE = (
    *(candle_name(name) for name in reversed(TIMEFRAMES)),
    *(gold_name(kind) for kind in Kind),
    *(silver_name(e, kind) for kind in Kind for e in EXCHANGES),
)


@dataclass(frozen=True)
class Chosen:
    """The snapshot of a table that a tag takes.

    ``behind`` counts the commits of the table after it, ``outstanding`` are the days of which it
    holds rows that the tagged tables made from it have not consumed.
    """

    table: str
    snapshot: Snapshot
    behind: int
    outstanding: tuple[date, ...] = ()


def set_tag(lake: Lake, name: str, only: Sequence[str] = ()) -> list[Chosen]:
    """Name a snapshot of each of these tables, or of all that were ever written.

    Raises UsageError for what is no name, or where a table has the tag already on another snapshot:
    a tag does not move. Raises UnknownName for a table.
    """
    if not TAG.fullmatch(name) or name == RESERVED:
        raise UsageError(
            f"{name!r} is no name for a tag: give a letter, then letters, digits, dots, dashes and "
            f"underscores, 64 at most, and not {RESERVED!r}."
        )
    chosen = choose(lake, only)
    for each in chosen:
        _require_free(lake, name, each)
    for each in chosen:
        _create(lake, name, each)
    return chosen


def remove_tag(lake: Lake, name: str, only: Sequence[str] = ()) -> list[str]:
    """Take the name off these tables, or off all that bear it; which they were.

    Raises UnknownName where none bears it.
    """
    tables = _written(lake, only)
    bearing = [table for table, opened in tables.items() if name in tags(opened)]
    if not bearing:
        known = {tag for opened in tables.values() for tag in tags(opened)}
        raise UnknownName("tag", name, known or ["none"])
    for table in bearing:
        _remove(lake, name, table)
    return bearing


def choose(lake: Lake, only: Sequence[str] = ()) -> list[Chosen]:
    """The snapshots that belong together, of these tables or of all, in the order of the flow."""
    wanted = _written(lake, only)
    if not wanted:
        raise UsageError("none of these tables was ever written, so there is nothing to name.")
    taken = _made_together(lake, wanted)
    for name, table in wanted.items():
        if name not in taken:
            taken[name] = _not_beyond(table, taken)
    return [
        Chosen(
            name,
            taken[name],
            sum((s.sequence_number or 0) > _sequence(taken[name]) for s in lineage(table)),
            _outstanding(lake, table, taken),
        )
        for name, table in wanted.items()
    ]


def _written(lake: Lake, only: Collection[str]) -> dict[str, Table]:
    for name in only:
        table_def(name)
    opened = {name: existing_table(lake, name) for name in TABLES if name in only or not only}
    return {n: t for n, t in opened.items() if t is not None and t.current_snapshot() is not None}


def _made_together(lake: Lake, wanted: Mapping[str, Table]) -> dict[str, Snapshot]:
    """The snapshots of the chain, from the last table of it that is wanted to bronze."""
    reach: dict[str, int] = {}
    taken: dict[str, Snapshot] = {}
    bronze = [name for name in TABLES if not table_def(name).made_from]
    for name in (*_MADE, *bronze):
        table = wanted.get(name) or (_written(lake, [name]).get(name) if name in reach else None)
        if table is None:
            continue
        taken[name] = lineage(table)[0] if name not in reach else state_up_to(table, reach[name])
        for source, done in consumed(table, _sequence(taken[name])).items():
            reach[source] = max(reach.get(source, 0), _reach(done))
    return taken


def _not_beyond(table: Table, taken: Mapping[str, Snapshot]) -> Snapshot:
    """The newest snapshot that has consumed no more of its sources than is taken of them."""
    kept = lineage(table)
    for snapshot in kept:
        done = consumed(table, _sequence(snapshot))
        if all(_reach(d) <= _sequence(taken[s]) for s, d in done.items() if s in taken):
            return snapshot
    return kept[-1]


def _outstanding(lake: Lake, table: Table, taken: Mapping[str, Snapshot]) -> tuple[date, ...]:
    """The days of the taken snapshot that a table of the chain has not consumed."""
    name, days = name_of(table), set[date]()
    for consumer in set(consumers_of(name)) & set(taken) & set(_MADE):
        follower = lake.table(consumer)
        done = consumed(follower, _sequence(taken[consumer])).get(name, Consumed())
        days |= _pending(table, done, _sequence(taken[name]))
    return tuple(sorted(days))


def _pending(table: Table, done: Consumed, limit: int) -> set[date]:
    try:
        changes = changes_since(table, done.through)
    except InvariantBroken:
        # What the consumer had not seen has expired since; what is kept can still be compared.
        changes = changes_since(table, _sequence(lineage(table)[-1]))
    return set(done.pending(c for c in changes if c.sequence <= limit))


def _require_free(lake: Lake, name: str, chosen: Chosen) -> None:
    table = existing_table(lake, chosen.table)
    known = {} if table is None else tags(table)
    if known.get(name, chosen.snapshot.snapshot_id) != chosen.snapshot.snapshot_id:
        raise UsageError(
            f"{chosen.table} has the tag {name!r} already, on snapshot {known[name]}, and a tag "
            "does not move. Choose another name, or take it off first: "
            f"`k2 lake tag {name} --remove`."
        )


@retry_conflicts
def _create(lake: Lake, name: str, chosen: Chosen) -> None:
    table = lake.table(chosen.table)
    if tags(table).get(name) == chosen.snapshot.snapshot_id:
        return
    if table.snapshot_by_id(chosen.snapshot.snapshot_id) is None:
        raise UsageError(
            f"snapshot {chosen.snapshot.snapshot_id} of {chosen.table} has expired at this moment. "
            f"`k2 lake tag {name} --remove`, then tag again."
        )
    try:
        table.manage_snapshots().create_tag(chosen.snapshot.snapshot_id, name).commit()
    except CommitFailedException as error:
        raise CommitConflict(f"{chosen.table}: another writer committed first") from error


@retry_conflicts
def _remove(lake: Lake, name: str, table_name: str) -> None:
    table = lake.table(table_name)
    if name not in tags(table):
        return
    try:
        table.manage_snapshots().remove_tag(name).commit()
    except CommitFailedException as error:
        raise CommitConflict(f"{table_name}: another writer committed first") from error


def _reach(done: Consumed) -> int:
    """The newest sequence of which something was consumed."""
    return max(done.through, *done.ahead.values(), 0)


def _sequence(snapshot: Snapshot) -> int:
    return snapshot.sequence_number or 0
