"""Archives by hand, as bronze holds their rows."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pyarrow as pa

from k2_feeds.archives.archive import open_archives
from k2_feeds.archives.files import CHECKSUM
from k2_feeds.parsing import frames as parsing
from k2_feeds.parsing.frames import Parsed
from k2_market.kinds import Kind
from tests.frames import bronze_rows, frame_table

LOADED_US = 1_790_000_000_000_000


def archive_frames(
    exchange: str,
    path: Path,
    symbol: str | None = None,
    first_offset: int = 0,
    kind: Kind = Kind.TRADES,
) -> pa.Table:
    """The rows of a file as a topic reader gives them."""
    frames = [
        frame
        for archive in open_archives(exchange, kind, path, symbol)
        for batch, _ in archive.batches(LOADED_US)
        for frame, _ in batch
    ]
    table = frame_table(
        [(f.payload, f.received_at_us) for f in frames], first_offset, exchange=exchange
    )
    told = {
        "origin": pa.array(["archive"] * len(frames), pa.string()),
        "sequence": pa.array([f.sequence for f in frames], pa.int64()),
        "connection_id": pa.array([f.connection_id for f in frames], pa.int64()),
    }
    for name, column in told.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), column)
    return table


def parsed(exchange: str, path: Path, symbol: str | None = None) -> Parsed:
    return parsing.parse(exchange, Kind.TRADES, bronze_rows(archive_frames(exchange, path, symbol)))


def zipped(path: Path, *members: Path, checksum: str | None = None) -> Path:
    """A zip of these files, with its CHECKSUM file beside it as Binance publishes it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.write(member, member.name)
    digest = checksum or hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + CHECKSUM).write_text(f"{digest}  {path.name}\n")
    return path
