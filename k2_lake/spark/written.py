"""Data files that Spark's workers write, for rows that no one machine holds.

Workers write with PyIceberg what a machine alone would write: the same columns, partitions and
statistics. Nobody sees the files before the driver commits them, by what the workers tell of them.
A task that Spark repeats writes other files; those of the attempt that failed are orphans for gc.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import ceil
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.resolver import construct_writer, resolve_reader
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, data_file_with_partition
from pyiceberg.table import StaticTable, Table
from pyiceberg.table.metadata import TableMetadataUtil
from pyiceberg.types import StructType

from k2_lake.commit import written_files
from k2_lake.store import speak_plainly
from k2_lake.tables import name_of, table_def

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# A worker holds the rows of one file at a time: 0.3 kB each, and as much again while it writes.
ROWS_PER_FILE = 1_000_000
# Ranges are cut by samples: what is a little longer still becomes one file.
MOST_PER_FILE = ROWS_PER_FILE * 5 // 4

# What `mapInArrow` is told that workers give back: a data file, packed, in each row.
PACKED = pa.schema([pa.field("file", pa.binary(), nullable=False)])
PACKED_COLUMNS = "file binary"

NO_HISTORY: dict[str, object] = {
    "snapshots": [],
    "snapshot_log": [],
    "metadata_log": [],
    "refs": {},
    "current_snapshot_id": None,
}


@dataclass(frozen=True)
class Target:
    """A table as workers write to it: all they need to know, made to be sent with their function.

    ``metadata`` is the table's, in JSON and without its history; ``store`` holds the properties of
    the file store and is in no ``repr``, for they may be credentials.
    """

    name: str
    metadata: str = field(repr=False)
    store: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, table: Table, store: Mapping[str, str]) -> Target:
        """The table as it is in ``table``, its files written with the properties of ``store``."""
        told = table.metadata.model_copy(update=NO_HISTORY)
        return cls(name_of(table), told.model_dump_json(), dict(store))

    def __reduce__(self) -> tuple[type[Target], tuple[str, str, Mapping[str, str]]]:
        return Target, (self.name, self.metadata, self.store)

    def write(self, rows: pa.Table) -> list[bytes]:
        """Write ``rows`` in their order and give the files, packed; it runs where workers are.

        They are cast to the record's columns; a value that does not fit raises.
        """
        speak_plainly(self.store)
        schema = table_def(self.name).schema
        files = written_files(self._table, rows.select(schema.names).cast(schema))
        return [self.packed(file) for file in files]

    def packed(self, file: DataFile) -> bytes:
        """A data file of the table as a manifest would hold it."""
        content = io.BytesIO()
        construct_writer(self._kind).write(BinaryEncoder(content), file)
        return content.getvalue()

    def unpacked(self, content: bytes) -> DataFile:
        """The data file that ``packed`` was given."""
        reader = resolve_reader(
            self._kind,
            self._kind,
            read_types={-1: DataFile},
            read_enums={101: FileFormat, 134: DataFileContent},
        )
        file: DataFile = reader.read(new_decoder(content))
        file.spec_id = self._table.metadata.default_spec_id
        return file

    @cached_property
    def _table(self) -> Table:
        metadata = TableMetadataUtil.parse_raw(self.metadata)
        store = PyArrowFileIO(dict(self.store))
        return StaticTable(tuple(self.name.split(".")), metadata, "", store, NoopCatalog("k2"))

    @cached_property
    def _kind(self) -> StructType:
        of = self._table
        return data_file_with_partition(
            of.spec().partition_type(of.schema()), of.metadata.format_version
        )


def written_by_workers(
    frame: DataFrame, target: Target, *, order: Sequence[str], rows: int
) -> list[DataFile]:
    """The files written for the rows of ``frame``, each of a million rows or a little more.

    Rows stand by the table's partition, then in ``order``; each file holds a range of that order,
    so that readers skip files as they do on one machine. ``rows`` says about how many there are.
    """
    by = [*table_def(target.name).partition_columns, *order]
    ranges = max(1, ceil(rows / ROWS_PER_FILE))
    in_order = frame.repartitionByRange(ranges, *by).sortWithinPartitions(*by)
    found = in_order.mapInArrow(partial(write_batches, target=target), PACKED_COLUMNS).toArrow()
    return [target.unpacked(content) for content in found["file"].to_pylist()]


def write_batches(
    batches: Iterable[pa.RecordBatch], target: Target, most: int = MOST_PER_FILE
) -> Iterator[pa.RecordBatch]:
    """Write what comes in, in its order, no file of more than about ``most`` rows.

    Gives the packed files, in the columns of ``PACKED``.
    """
    for rows in _gathered(batches, most):
        yield pa.RecordBatch.from_pylist([{"file": f} for f in target.write(rows)], schema=PACKED)


def _gathered(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if held and count + batch.num_rows > most:
            yield pa.Table.from_batches(held)
            held, count = [], 0
        held.append(batch)
        count += batch.num_rows
    if count:
        yield pa.Table.from_batches(held)
