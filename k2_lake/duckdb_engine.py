"""The engine for one machine: DuckDB in process, in memory, reading the planned files."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import reduce

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile

from k2_lake.engine import Done, Engine, Input, Part
from k2_lake.faults import reading_data
from k2_lake.held import InMemory
from k2_lake.locations import local_path
from k2_lake.scan import Files
from k2_market.errors import LakeUnavailable

FEW_FILES = 32

Connect = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]

# The common subset lacks these two: the names are Spark's.
PRELUDE = """
set timezone = 'UTC';
create or replace macro unix_micros(t) as epoch_us(t);
create or replace macro timestamp_micros(u) as make_timestamp(u)::timestamptz;
"""


@contextmanager
def memory_connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A private in-memory database."""
    connection = duckdb.connect(":memory:")
    try:
        yield connection
    finally:
        connection.close()


class DuckDBEngine:
    """Runs statements in an in-memory database of its own, one at a time; they leave it empty.

    ``connect`` yields the connection; Dagster's DuckDBResource has such a method. ``io`` reads
    stores that DuckDB does not reach by itself. The database is opened at the first statement and
    lives as long as the engine: opening one takes 13 ms, longer than most statements of a tick.
    """

    name = "duckdb"
    parts_at_once = 1

    def __init__(
        self, connect: Connect = memory_connection, io: PyArrowFileIO | None = None
    ) -> None:
        self._connect = connect
        self._io = io
        self._opened: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()

    def query(
        self, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> pa.Table:
        """See ``Engine.query``. Raises FileBroken for a damaged data file, LakeUnavailable."""
        with self._lock, reading_data(inputs, self._io):
            connection = self._database()
            try:
                for name, source in inputs.items():
                    bind(connection, name, source, self._io)
                result: pa.Table = connection.sql(sql).to_arrow_table()
            finally:
                for name in inputs:
                    connection.unregister(name)
                    connection.execute(f"drop view if exists {name}")
        return result if schema is None else result.select(schema.names).cast(schema)

    def each(self, work: Callable[[Engine, Part], Done], parts: Sequence[Part]) -> list[Done]:
        """See ``Engine.each``: one after the other, in this process."""
        return [work(self, part) for part in parts]

    def held(
        self,
        sql: str,
        inputs: Mapping[str, Input],
        schema: pa.Schema | None = None,
        order: Sequence[str] = (),
    ) -> InMemory:
        """See ``Engine.held``. Raises as ``query`` does."""
        ordered = f"{sql} order by {', '.join(order)}" if order else sql
        return InMemory(self.query(ordered, inputs, schema))

    def procedures(self) -> None:
        """DuckDB has none."""

    def _database(self) -> duckdb.DuckDBPyConnection:
        if self._opened is None:
            stack = ExitStack()
            self._opened = stack.enter_context(self._connect())
            weakref.finalize(self, stack.close)
            self._opened.execute(PRELUDE)
        return self._opened


def bind(
    connection: duckdb.DuckDBPyConnection, name: str, source: Input, io: PyArrowFileIO | None = None
) -> None:
    """Make ``source`` visible under ``name``.

    Columns that were added after a file was written are null in its rows; that one is missing in a
    file which should have it is an error.
    """
    if isinstance(source, pa.Table):
        connection.register(name, source)
    elif not isinstance(source, Files):
        connection.register(name, source.table())
    elif not source.files:
        connection.register(name, source.schema.empty_table())
    else:
        paths = [local_path(p) for p in source.paths]
        if any(p is None for p in paths):
            connection.register(name, _dataset(source, io))
        elif source.evolved:
            _widened(connection, source).create_view(name)
        else:
            _parquet(connection, source).create_view(name)


def inlined(source: Input) -> str | None:
    """The SQL that stands for a few local files, None where ``bind`` must make them visible.

    It saves a third of the time that a short statement takes to be bound.
    """
    if not isinstance(source, Files) or source.evolved or not 0 < len(source.files) <= FEW_FILES:
        return None
    paths = [local_path(p) for p in source.paths]
    quoted = ["'" + literal(p).replace("'", "''") + "'" for p in paths if p is not None]
    return f"read_parquet([{', '.join(quoted)}])" if len(quoted) == len(paths) else None


def _parquet(connection: duckdb.DuckDBPyConnection, source: Files) -> duckdb.DuckDBPyRelation:
    """The rows of local files that all have the same columns."""
    paths = [local_path(p) for p in source.paths]
    return connection.read_parquet([literal(p) for p in paths if p is not None])


def _widened(connection: duckdb.DuckDBPyConnection, source: Files) -> duckdb.DuckDBPyRelation:
    """The rows of local files with the columns of the schema, null where a file lacks one."""
    types = connection.from_arrow(source.schema.empty_table()).types
    kinds = dict(zip(source.schema.names, types, strict=True))
    groups: dict[frozenset[str], list[DataFile]] = {}
    for file in source.files:
        groups.setdefault(source.lacking.get(file.file_path, frozenset()), []).append(file)
    parts = [
        _parquet(connection, source.only(files)).project(
            ", ".join(f"cast(null as {k}) as {n}" if n in lacks else n for n, k in kinds.items())
        )
        for lacks, files in groups.items()
    ]
    return reduce(duckdb.DuckDBPyRelation.union, parts)


def literal(path: str) -> str:
    """The path as DuckDB's globbing must be told it, for a folder may be called anything."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _dataset(source: Files, io: PyArrowFileIO | None) -> ds.Dataset:
    if io is None:
        raise LakeUnavailable(
            f"{source.paths[0]} is in a store and no credentials were given for it."
        )
    scheme, netloc, _ = PyArrowFileIO.parse_location(source.paths[0])
    filesystem = io.fs_by_scheme(scheme, netloc)
    paths = [PyArrowFileIO.parse_location(p)[2] for p in source.paths]
    return ds.dataset(paths, schema=source.schema, filesystem=filesystem, format="parquet")
