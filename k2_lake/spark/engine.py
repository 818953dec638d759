"""The engine for many machines: Spark, which runs the same statements."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.manifest import DataFile

from k2_lake.catalog import Lake
from k2_lake.engine import Done, Engine, Input, Part, Procedures
from k2_lake.faults import broken_data, reading_data, told
from k2_lake.spark.held import OnWorkers
from k2_lake.spark.reading import data_frame
from k2_lake.spark.session import spark_session
from k2_lake.spark.settings import SparkSettings, catalog_properties
from k2_lake.spark.tasks import done_by_workers
from k2_lake.spark.written import ROWS_PER_FILE
from k2_market.errors import LakeUnavailable

if TYPE_CHECKING:
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyspark.sql import DataFrame, SparkSession

_OF_DAYS = {
    # Repeats are rare: to look for them once more before the shuffle sorts every row in vain.
    "spark.sql.optimizer.windowGroupLimitThreshold": "-1",
    # 4.1 loses sight of a `with` in a frame that another statement with one is made from, so it
    # puts each where it is named, and computes what stands there twice once all the same.
    "spark.sql.legacy.ctePrecedencePolicy": "LEGACY",
}


class SparkEngine:
    """Runs statements in a session of its own, one at a time; they leave it without views.

    The session is opened at the first statement, on the one Spark of the process.
    """

    name = "spark"
    # A commit of so many parts names some hundred files and is minutes of work for a few machines:
    # what a run that is killed has to do again.
    parts_at_once = 64

    def __init__(self, settings: SparkSettings, lake: Lake) -> None:
        self._settings = settings
        self._lake = lake
        self._opened: SparkSession | None = None
        self._lock = threading.Lock()

    @property
    def session(self) -> SparkSession:
        """Its session. Raises EngineUnavailable."""
        if self._opened is None:
            self._opened = spark_session(self._settings, self._lake.settings)
        return self._opened

    def query(
        self, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> pa.Table:
        """See ``Engine.query``. Raises EngineUnavailable, FileBroken, LakeUnavailable."""
        with self._lock:
            session, io = self.session, self._lake.io
            with _acting(inputs, io):
                result = _run(session, sql, inputs, io)
        return result if schema is None else result.select(schema.names).cast(schema)

    def each(self, work: Callable[[Engine, Part], Done], parts: Sequence[Part]) -> list[Done]:
        """See ``Engine.each``: a task of Spark's for each part, with DuckDB where it runs.

        Raises EngineUnavailable, LakeUnavailable where Spark gave up.
        """
        with self._lock, in_spark({}, self._lake.io):
            return done_by_workers(self.session, work, parts, self._lake.io.properties)

    def held(
        self,
        sql: str,
        inputs: Mapping[str, Input],
        schema: pa.Schema | None = None,
        order: Sequence[str] = (),  # noqa: ARG002 - they are ordered when they are written
    ) -> OnWorkers:
        """See ``Engine.held``: the statement runs when something is asked of its rows."""
        io, most = self._lake.io, sum(map(_most, inputs.values()))
        acting = partial(_acting, inputs, io)
        with self._lock, acting():
            session = self.session
            _prepare(session, most)
            frame = _frame(session, sql, inputs, io)
        if schema is not None:
            frame = frame.select(*schema.names)
        return OnWorkers(frame, _files(inputs), most, acting, io.properties)

    def procedures(self) -> Procedures | None:
        """Where the catalog is PostgreSQL; in SQLite's Spark does not find the tables."""
        if not catalog_properties(self._lake.settings):
            return None
        from k2_lake.spark.procedures import SparkProcedures

        return SparkProcedures(self, self._lake)


def _frame(
    session: SparkSession, sql: str, inputs: Mapping[str, Input], io: PyArrowFileIO
) -> DataFrame:
    """The statement as a frame that holds its inputs: over Connect, a view is looked up late."""
    frames = {name: data_frame(session, source, io) for name, source in inputs.items()}
    given = ", ".join(f"{name} as (select * from {{{name}}})" for name in frames)
    named = f"with {given} " if given else ""
    return session.sql(f"{named}select * from (\n{sql}\n)", **frames)


def _prepare(session: SparkSession, rows: int) -> None:
    """Set the session for so many rows: what is shuffled in parts that a worker sorts in memory."""
    name, parts = "spark.sql.shuffle.partitions", ceil(rows / ROWS_PER_FILE)
    if parts > int(session.conf.get(name)):
        session.conf.set(name, str(parts))
    for name, value in _OF_DAYS.items():
        session.conf.set(name, value)


def _most(source: Input) -> int:
    if isinstance(source, pa.Table):
        return source.num_rows
    return source.most if isinstance(source, OnWorkers) else source.rows


def _files(inputs: Mapping[str, object]) -> list[DataFile]:
    return [file for source in inputs.values() for file in getattr(source, "files", ())]


@contextmanager
def _acting(inputs: Mapping[str, Input], io: PyArrowFileIO) -> Iterator[None]:
    """Let Spark work on these inputs. Raises FileBroken, LakeUnavailable."""
    with reading_data(inputs, io), in_spark(inputs, io):
        yield


def _run(
    session: SparkSession, sql: str, inputs: Mapping[str, Input], io: PyArrowFileIO
) -> pa.Table:
    try:
        for name, source in inputs.items():
            data_frame(session, source, io).createOrReplaceTempView(name)
        result: pa.Table = session.sql(sql).toArrow()
    finally:
        for name in inputs:
            session.catalog.dropTempView(name)
    # Spark knows of some columns that they are never null: results of one kind must not differ.
    return result.cast(pa.schema([field.with_nullable(True) for field in result.schema]))


@contextmanager
def in_spark(inputs: Mapping[str, Input], io: PyArrowFileIO) -> Iterator[None]:
    """Raise FileBroken for a file that is to blame, LakeUnavailable for a Spark that gave up.

    A statement that Spark does not understand is a bug and stays as it is.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException:
        raise
    except (PySparkException, Py4JError) as error:
        broken = next(iter(broken_data(_files(inputs), io)), None)
        if broken is not None:
            raise broken from error
        raise LakeUnavailable(
            f"Spark could not do its work: {_reason(error)}. Are its master and its workers "
            "running, and do they reach the files? Run again then."
        ) from error


def _reason(error: Exception) -> str:
    """The error on one line; of one that a worker's Python raised, its own last line."""
    from pyspark.errors import PythonException

    if not isinstance(error, PythonException):
        return told(error)
    traceback = str(error).split("\n\tat ")[0].split("JVM stacktrace")[0]
    return traceback.strip().splitlines()[-1][:300]
