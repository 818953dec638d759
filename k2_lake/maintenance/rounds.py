"""A round of upkeep: one table after the other, whatever is wrong with one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import KEEP, expire
from k2_lake.maintenance.garbage import GRACE, sweep
from k2_lake.tables import TABLES, table_def
from k2_market.errors import K2Error
from k2_market.maintenance import Deed

Act = Callable[[str], Iterable[Deed]]


@dataclass
class Round:
    """What was done, and the tables that could not be seen to, with the reason."""

    deeds: list[Deed] = field(default_factory=list)
    failed: dict[str, K2Error] = field(default_factory=dict)

    def go(self, names: Iterable[str], act: Act) -> Iterator[str]:
        """Do it to these tables; the name of each before it is its turn."""
        for name in names:
            yield name
            try:
                for deed in act(name):
                    self.deeds.append(deed)
            except K2Error as error:
                self.failed[name] = error


def named(tables: Sequence[str]) -> list[str]:
    """These tables, all where none is named. Raises UnknownName."""
    return [table_def(name).name for name in tables] or list(TABLES)


def compacting(
    lake: Lake,
    engine: Engine,
    *,
    dry_run: bool = False,
    enough: Callable[[], bool] = lambda: False,
) -> Act:
    """Compaction of closed days; once it is ``enough``, days that are left wait for another run."""

    def act(name: str) -> Iterator[Deed]:
        if enough():
            return
        for deed in compact(lake, engine, name, dry_run=dry_run):
            yield deed
            if enough():
                return

    return act


def expiring(lake: Lake, engine: Engine, *, keep: int = KEEP, dry_run: bool = False) -> Act:
    """Expiry of snapshots beyond the newest ``keep``."""

    def act(name: str) -> Iterator[Deed]:
        procedures = engine.procedures()
        deed = expire(lake, name, keep=keep, dry_run=dry_run, procedures=procedures)
        if deed is not None:
            yield deed

    return act


def sweeping(lake: Lake, engine: Engine, *, grace: timedelta = GRACE, dry_run: bool = False) -> Act:
    """Deletion of files that nothing reaches and that are older than ``grace``."""

    def act(name: str) -> Iterator[Deed]:
        procedures = engine.procedures()
        done = sweep(lake, name, grace=grace, dry_run=dry_run, procedures=procedures)
        if done is not None and done.deed is not None:
            yield done.deed

    return act
