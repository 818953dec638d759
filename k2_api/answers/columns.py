"""Rows as columns: the Arrow IPC stream and Parquet, written while the rows come.

Both are compressed inside, buffer by buffer, and so never again by Content-Encoding: a reader of
Arrow or Parquet undoes it by itself, and only for the columns that it looks at. Arrow uses LZ4:
it makes 68 MB of the 178 MB of a million trades for 0.15 s of a core. Parquet, which is kept, uses
zstd. Both end with a mark, so that one cut short is never taken for whole.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ARROW_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
ROW_GROUP = 131_072


def arrow_stream(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    """An Arrow IPC stream: the schema, each batch as it comes, the mark of the end."""
    written = _Written()
    sink = pa.PythonFile(written, mode="w")
    with pa.ipc.new_stream(sink, schema, options=ARROW_OPTIONS) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield written.take()
    yield written.take()


def parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    """A Parquet file: row groups of equal size, and at the end the footer that names them."""
    written = _Written()
    with pq.ParquetWriter(pa.PythonFile(written, mode="w"), schema, compression="zstd") as writer:
        for group in _groups(batches, schema):
            writer.write_table(group, row_group_size=ROW_GROUP)
            yield written.take()
    yield written.take()


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in tables of ROW_GROUP; the last may have fewer."""
    kept = schema.empty_table()
    for batch in batches:
        kept = pa.concat_tables([kept, pa.Table.from_batches([batch])])
        while kept.num_rows >= ROW_GROUP:
            yield kept.slice(0, ROW_GROUP)
            kept = kept.slice(ROW_GROUP)
    if kept.num_rows:
        yield kept


class _Written(io.RawIOBase):
    """A file that is only written to: what has been written waits until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        return len(self._parts[-1])

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
