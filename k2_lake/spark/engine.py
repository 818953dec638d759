"""The engine for many machines: Spark, which runs the same statements."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from k2_lake.catalog import Lake
from k2_lake.engine import Done, Engine, Input, Part
from k2_lake.faults import broken_data, reading_data, told
from k2_lake.spark.reading import data_frame
from k2_lake.spark.session import spark_session
from k2_lake.spark.settings import SparkSettings
from k2_lake.spark.tasks import done_by_workers
from k2_market.errors import LakeUnavailable

if TYPE_CHECKING:
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyspark.sql import SparkSession


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
            with reading_data(inputs, io), _in_spark(inputs, io):
                result = _run(session, sql, inputs, io)
        return result if schema is None else result.select(schema.names).cast(schema)

    def each(self, work: Callable[[Engine, Part], Done], parts: Sequence[Part]) -> list[Done]:
        """See ``Engine.each``: a task of Spark's for each part, with DuckDB where it runs.

        Raises EngineUnavailable, LakeUnavailable where Spark gave up.
        """
        with self._lock, _in_spark({}, self._lake.io):
            return done_by_workers(self.session, work, parts, self._lake.io.properties)


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
def _in_spark(inputs: Mapping[str, Input], io: PyArrowFileIO) -> Iterator[None]:
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
        files = [f for source in inputs.values() for f in getattr(source, "files", ())]
        broken = next(iter(broken_data(files, io)), None)
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
