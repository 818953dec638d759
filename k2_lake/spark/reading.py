"""Data files and Arrow tables as Spark's data frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import PyArrowFileIO

from k2_lake.engine import Input
from k2_lake.locations import local_path
from k2_lake.scan import Files
from k2_lake.spark.held import OnWorkers
from k2_market.errors import LakeUnavailable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


def data_frame(session: SparkSession, source: Input, io: PyArrowFileIO | None) -> DataFrame:
    """The rows of ``source``.

    Columns that were added after a file was written are null in its rows; that one is missing in a
    file which should have it is an error. Files in a store are opened by the workers' Python, with
    the properties of ``io``.
    """
    if isinstance(source, OnWorkers):
        return source.frame
    if isinstance(source, pa.Table):
        return _of_table(session, source)
    if not isinstance(source, Files):
        return _of_table(session, source.table())
    if not source.files:
        return _of_table(session, source.schema.empty_table())
    paths = [local_path(p) for p in source.paths]
    if any(p is None for p in paths):
        return _from_store(session, source, io)
    found = [p for p in paths if p is not None]
    for path, location in zip(found, source.paths, strict=True):
        _require_columns(pq.read_schema(path), source, location)
    reader = session.read.schema(spark_schema(source.schema))
    # Otherwise the names of folders would become columns of their own.
    return reader.option("recursiveFileLookup", "true").parquet(*map(literal, found))


def _of_table(session: SparkSession, table: pa.Table) -> DataFrame:
    # Spark 4.1 silently drops all rows behind an empty chunk, and Connect infers nothing from none.
    filled = [batch for batch in table.to_batches() if batch.num_rows]
    if not filled:
        return session.createDataFrame(table.schema.empty_table(), spark_schema(table.schema))
    return session.createDataFrame(pa.Table.from_batches(filled))


def literal(path: str) -> str:
    """The path as Spark's globbing must be told it, for a folder may be called anything."""
    return "file:" + re.sub(r"([*?\[\]{}\\])", r"\\\1", path)


def spark_schema(schema: pa.Schema) -> StructType:
    """The same columns in Spark's types, all nullable, as files are read."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(pa.schema([field.with_nullable(True) for field in schema]))


def _require_columns(found: pa.Schema, source: Files, location: str) -> None:
    lacks = source.lacking.get(location, frozenset())
    missing = [n for n in source.schema.names if n not in lacks and n not in found.names]
    if missing:
        raise pa.ArrowInvalid(f"{location} has no column {', '.join(missing)}")


def _from_store(session: SparkSession, source: Files, io: PyArrowFileIO | None) -> DataFrame:
    if io is None:
        raise LakeUnavailable(
            f"{source.paths[0]} is in a store and no credentials were given for it."
        )
    read = partial(_rows, files=source.only(()), properties=dict(io.properties))
    listed = session.createDataFrame(pa.table({"location": source.paths}))
    return listed.repartition(len(source.files)).mapInArrow(read, spark_schema(source.schema))


def _rows(
    batches: Iterable[pa.RecordBatch], files: Files, properties: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """What the files have whose locations come in; it runs where Spark's workers are."""
    io = PyArrowFileIO(dict(properties))
    for batch in batches:
        for location in map(str, batch.column(0).to_pylist()):
            scheme, netloc, path = PyArrowFileIO.parse_location(location)
            store = io.fs_by_scheme(scheme, netloc)
            _require_columns(pq.read_schema(path, filesystem=store), files, location)
            found = ds.dataset(path, schema=files.schema, filesystem=store, format="parquet")
            yield from (rows for rows in found.to_batches() if rows.num_rows)
