"""The lake as the API reads it: tables and plans are kept until their table changes.

Whether a table has changed costs one query of the catalog; loading its metadata and planning its
files, which cost far more, happen once per snapshot.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import duckdb
import pyarrow as pa
from pyiceberg.catalog.sql import IcebergTables
from pyiceberg.expressions import BooleanExpression
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from k2_api.guard.database import confined_database
from k2_api.guard.guard import Guard
from k2_api.guard.priority import Aside
from k2_api.guard.settings import GuardSettings
from k2_api.reading.pulse import Beat, Pulse
from k2_lake.catalog import CATALOG_NAME, Lake, LakeSettings
from k2_lake.duckdb_engine import bind, inlined
from k2_lake.engine import Input
from k2_lake.faults import blames_a_file
from k2_lake.read_sql import existing_lake, existing_table
from k2_lake.scan import Files, planned
from k2_lake.tables import table_def
from k2_lake.travel.as_of import AsOf, kept_snapshot, resolve_as_of
from k2_market.errors import LakeUnavailable, UsageError

KEPT_PLANS = 2_048

Row = tuple[object, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Pinned:
    """The state of a table that a question is about, None for one before its first snapshot."""

    snapshot_id: int | None


def pinned(table: Table | None, as_of: str | None, snapshot: int | None) -> Pinned | None:
    """The state that ``as_of`` asks for, None where it asks for none.

    ``snapshot`` is the one that the pages before were read from. Raises UsageError, UnknownName.
    """
    if as_of is None:
        return None
    moment = AsOf.parse(as_of)
    if table is None:
        return Pinned(None)
    if snapshot is not None:
        return Pinned(kept_snapshot(table, snapshot).snapshot_id)
    found = resolve_as_of(table, moment)
    return Pinned(None if found is None else found.snapshot_id)


def read_from(table: Table | None, at: Pinned | None) -> int | None:
    """The snapshot that is read: the pinned one, else the newest; None where there is none."""
    if at is not None:
        return at.snapshot_id
    head = None if table is None else table.current_snapshot()
    return None if head is None else head.snapshot_id


class LakeReader:
    """Reads the tables; safe to use from several threads. It never writes, nor creates a table."""

    def __init__(self, settings: LakeSettings, guard: Guard | None = None) -> None:
        self.guard = guard or Guard(settings, GuardSettings())
        self._budget, self._breakers = self.guard.budget, self.guard.breakers
        self._settings = settings
        self._lock = threading.Lock()
        self._lake: Lake | None = None
        self._tables: dict[str, Table] = {}
        self._plans: OrderedDict[Hashable, Files] = OrderedDict()
        self._numbers = itertools.count()
        self._pulse = Pulse(settings)
        self._seen: tuple[Beat, dict[str, str]] | None = None
        self._aside = Aside(self._budget.at_once)
        self._database = confined_database(settings.warehouse, self._budget, self._aside)

    def close(self) -> None:
        """Let go of the database; what runs is interrupted, nothing can be read afterwards."""
        self._budget.stop()
        self._aside.close()
        self._pulse.close()
        self._database.close()

    def beat(self) -> Beat | None:
        """What stays the same while no table changes, None where that cannot be told at once."""
        return self._pulse.beat()

    def tables(self) -> dict[str, Table]:
        """Every table that was ever written, as it is now. Raises LakeUnavailable."""
        return {name: self._table(name, at) for name, at in self._locations().items()}

    def table(self, name: str) -> Table | None:
        """The table as it is now, None if it was never written. Raises LakeUnavailable."""
        location = self._locations().get(name)
        return None if location is None else self._table(name, location)

    def plan(
        self,
        name: str,
        table: Table | None,
        where: BooleanExpression,
        key: Hashable,
        pinned: Pinned | None = None,
    ) -> Files:
        """The files that may hold rows for which ``where`` is true; ``key`` says the same thing."""
        schema = table_def(name).schema
        if table is None or (pinned is not None and pinned.snapshot_id is None):
            return Files(schema, ())
        at = None if pinned is None else pinned.snapshot_id
        known = (table.metadata_location if at is None else at, key)
        with self._lock:
            if known in self._plans:
                self._plans.move_to_end(known)
                return self._plans[known]
        with self._breakers.store.guarding():
            files = planned(table, schema, where, at)
        with self._lock:
            self._plans[known] = files
            if len(self._plans) > KEPT_PLANS:
                self._plans.popitem(last=False)
        return files

    def run(
        self,
        sql: str,
        files: Input | Mapping[str, Input],
        values: Mapping[str, object],
        table: Table | None,
    ) -> list[Row]:
        """The rows of ``sql``, in which ``{rows}`` stands for the files and values for ``$names``.

        Several inputs stand under their own ``{names}``. Raises LakeUnavailable when a file cannot
        be read.
        """
        inputs = files if isinstance(files, Mapping) else {"rows": files}
        with self._seeing(inputs, table) as (cursor, names):
            text = sql.format(**names)
            found: list[Row] = self._spent(cursor, lambda: cursor.execute(text, values).fetchall())
        return found

    def arrow(
        self, sql: str, inputs: Mapping[str, Input], values: Mapping[str, object], io: Table | None
    ) -> pa.Table:
        """The same as ``run`` in Arrow, over several inputs that stand under their ``{names}``.

        ``io`` is a table in whose store the files are.
        """
        with self._seeing(inputs, io) as (cursor, names):
            text = sql.format(**names)
            rows: pa.Table = self._spent(
                cursor, lambda: cursor.sql(text, params=values).to_arrow_table()
            )
        return rows

    def batches(
        self,
        sql: str,
        inputs: Mapping[str, Input],
        values: Mapping[str, object],
        io: Table | None,
        rows: int,
    ) -> Iterator[pa.RecordBatch]:
        """The same as ``arrow`` while it is read, in batches of about so many ``rows``.

        The budget is that of each batch, for nobody can tell how soon it is taken. Nothing more is
        read once the iterator is closed.
        """
        with self._seeing(inputs, io) as (cursor, names):
            text = sql.format(**names)
            reader: pa.RecordBatchReader = self._spent(
                cursor, lambda: cursor.sql(text, params=dict(values)).to_arrow_reader(rows)
            )
            with reader:
                while (batch := self._spent(cursor, lambda: next(reader, None))) is not None:
                    yield batch

    @contextmanager
    def _seeing(
        self, inputs: Mapping[str, Input], store: Table | None
    ) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, str]]]:
        with self._lock:
            number = next(self._numbers)
        inline = {name: text for name, of in inputs.items() if (text := inlined(of)) is not None}
        bound = {name: f"{name}_{number}" for name in inputs.keys() - inline.keys()}
        io = store.io if store is not None and isinstance(store.io, PyArrowFileIO) else None
        cursor = self._database.cursor()
        try:
            for name, view in bound.items():
                self._spent(cursor, partial(bind, cursor, view, inputs[name], io))
            yield cursor, {**inline, **bound}
        finally:
            for view in bound.values():
                cursor.execute(f"drop view if exists {view}")
            cursor.close()

    def _spent(self, cursor: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> T:
        """Do the work on the cursor within the budget, behind the breaker of the store."""
        with self._budget.spent_on(cursor), self._breakers.store.guarding(), _reading_files():
            return self._aside.run(work)

    def _table(self, name: str, location: str) -> Table:
        known = self._tables.get(name)
        if known is not None and known.metadata_location == location:
            return known
        with self._breakers.store.guarding():
            table = existing_table(self._opened(), name)
        if table is None:
            raise LakeUnavailable(f"{name} has just been dropped. Ask again.")
        self._tables[name] = table
        return table

    def _locations(self) -> dict[str, str]:
        """By table, where its metadata is now."""
        beat, seen = self.beat(), self._seen
        if beat is not None and seen is not None and seen[0] == beat:
            return seen[1]
        found = self._read_locations()
        self._seen = None if beat is None else (beat, found)
        return found

    def _read_locations(self) -> dict[str, str]:
        wanted = select(
            IcebergTables.table_namespace,
            IcebergTables.table_name,
            IcebergTables.metadata_location,
        ).where(IcebergTables.catalog_name == CATALOG_NAME)
        lake = self._opened()
        try:
            with self._breakers.catalog.guarding(), Session(lake.catalog.engine) as session:
                rows = session.execute(wanted).all()
        except SQLAlchemyError as error:
            raise LakeUnavailable(
                f"the catalog cannot be read: {error.__class__.__name__}. Ask again in a moment."
            ) from error
        return {f"{space}.{name}": location for space, name, location in rows if location}

    def _opened(self) -> Lake:
        with self._lock:
            if self._lake is None:
                try:
                    self._lake = existing_lake(self._settings)
                except UsageError as error:
                    raise LakeUnavailable("the lake has not been made yet: no catalog.") from error
            return self._lake


@contextmanager
def _reading_files() -> Iterator[None]:
    """Run a statement over data files. Raises LakeUnavailable where one of them is to blame."""
    try:
        yield
    except (duckdb.Error, OSError) as error:
        if isinstance(error, duckdb.Error) and not blames_a_file(error):
            raise
        raise LakeUnavailable(
            "a data file cannot be read; it may just have been replaced. Ask again; if it "
            "stays so, `k2 doctor` names the file."
        ) from error
