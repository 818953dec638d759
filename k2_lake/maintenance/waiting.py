"""Who still waits for which commits of a table: what expiry may not take away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.history import Consumed, changes_since, consumed
from k2_lake.read_sql import existing_table
from k2_lake.tables import REJECTED_TABLE, consumers_of, name_of
from k2_market.errors import InvariantBroken


@dataclass(frozen=True)
class Waiting:
    """What one consumer has not consumed of a table.

    ``commits`` and ``days`` are outstanding; ``lost``: snapshots that it needed are gone.
    """

    consumer: str
    commits: int
    days: tuple[date, ...]
    lost: bool = False


def followers(lake: Lake, source: str) -> dict[str, Consumed]:
    """By name, every table that follows the commits of ``source``, with what it has consumed.

    A table that was never written has consumed nothing. Rejected rows are not among them: silver
    notes them in its own step and follows bronze for both.
    """
    found = {}
    for name in consumers_of(source):
        if name != REJECTED_TABLE:
            table = existing_table(lake, name)
            found[name] = Consumed() if table is None else consumed(table).get(source, Consumed())
    return found


def waiting(lake: Lake, table: Table) -> Iterator[Waiting]:
    """Those who have something of that table outstanding."""
    for name, done in followers(lake, name_of(table)).items():
        try:
            pending = done.pending(changes_since(table, done.through))
        except InvariantBroken:
            yield Waiting(name, 0, (), lost=True)
            continue
        if pending:
            commits = {change.sequence for changes in pending.values() for change in changes}
            yield Waiting(name, len(commits), tuple(sorted(pending)))
