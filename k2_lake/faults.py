"""What the libraries beneath the lake raise when something fails, made one kind of error.

Catalog, store and files have errors of their own, and bytes that were cut short make decoders raise
nearly anything. So whoever reads or writes does it within one of these blocks. What failed is found
out afterwards, by looking at each file once more: the message names the one that is missing or
damaged, and an error for which no file can be blamed is a bug and stays as it is.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitStateUnknownException, ValidationError
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from k2_lake.locations import local_path
from k2_lake.tables import name_of
from k2_market.errors import FileBroken, LakeUnavailable

# The catalog or the store does not answer, or the disk is full.
UNREACHABLE = (SQLAlchemyError, sqlite3.Error, OSError, CommitStateUnknownException)
# What decoders of JSON, Avro and Parquet make of bytes that are not theirs.
DAMAGED = (
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
    struct.error,
    zlib.error,
    ValidationError,
    pa.ArrowException,
    duckdb.Error,
)
FAULTS = (*UNREACHABLE, *DAMAGED)

RESTORE = (
    "If the whole warehouse is missing, is its disk mounted? Else restore the file from a backup "
    "or from the store's own versions, then run again."
)


@contextmanager
def opening(what: str) -> Iterator[None]:
    """Raise LakeUnavailable where database or store do not answer; ``what`` was to be opened."""
    try:
        yield
    except UNREACHABLE as error:
        raise LakeUnavailable(
            f"{what} cannot be opened: {told(error)}. "
            "Check K2_CATALOG_URI and K2_WAREHOUSE, and that the database and the store run."
        ) from error


@contextmanager
def planning(table: Table, snapshots: Iterable[Snapshot | None]) -> Iterator[None]:
    """Look at what snapshots hold: their manifest lists and manifests.

    Raises FileBroken for a list or manifest that is missing, damaged or cut short, LakeUnavailable
    when the store does not answer.
    """
    kept = [s for s in snapshots if s is not None]
    try:
        for snapshot in kept:
            _require_whole(table, snapshot)
        yield
    except FAULTS as error:
        raise_broken_metadata(table, kept, error)
        raise


def raise_broken_metadata(table: Table, snapshots: Iterable[Snapshot], error: Exception) -> None:
    """Raise what ``error`` means if a manifest or the store is to blame; else do nothing."""
    broken = next(iter(broken_manifests(table, snapshots)), None)
    if broken is not None:
        raise broken from error
    if isinstance(error, UNREACHABLE):
        raise LakeUnavailable(
            f"{name_of(table)} cannot be read: {told(error)}. Is the store reachable? Run again "
            "when it is."
        ) from error


def broken_manifests(table: Table, snapshots: Iterable[Snapshot]) -> Iterator[LakeUnavailable]:
    """What is wrong with each manifest list and manifest that cannot be read."""
    seen: set[str] = set()
    for snapshot in snapshots:
        try:
            manifests = snapshot.manifests(table.io)
        except FAULTS as error:
            yield _about(name_of(table), "the manifest list", snapshot.manifest_list, error)
            continue
        for manifest in manifests:
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                yield from _broken_manifest(table, manifest)


def _broken_manifest(table: Table, manifest: ManifestFile) -> Iterator[LakeUnavailable]:
    try:
        _require_size(table.io, manifest.manifest_path, manifest.manifest_length)
        manifest.fetch_manifest_entry(table.io, discard_deleted=False)
    except FAULTS as error:
        yield _about(name_of(table), "the manifest", manifest.manifest_path, error)


def _require_whole(table: Table, snapshot: Snapshot) -> None:
    """A manifest is a block for each file: cut between two, it is read without complaint.

    Only folders can hold half a file; stores take whole objects or none.
    """
    if local_path(snapshot.manifest_list) is None:
        return
    manifests = snapshot.manifests(table.io)
    properties = snapshot.summary.additional_properties if snapshot.summary else {}
    if not manifests and int(properties.get("total-data-files", 0)):
        raise FileBroken(
            f"{name_of(table)}: the manifest list {snapshot.manifest_list} is cut short: it names "
            f"none of {properties['total-data-files']} files. {RESTORE}"
        )
    for manifest in manifests:
        _require_size(table.io, manifest.manifest_path, manifest.manifest_length)


@contextmanager
def reading_data(inputs: Mapping[str, object], io: FileIO | None = None) -> Iterator[None]:
    """Run a statement over data files: ``inputs`` is what it reads, of which Files are looked at.

    Raises FileBroken for a data file that is missing or damaged, LakeUnavailable when files or
    their disk cannot be used, or when memory does not do.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise LakeUnavailable(
            f"the engine needs more memory than there is: {told(error)}. Materialize fewer days "
            "at a time, or give the machine more."
        ) from error
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        files = [f for source in inputs.values() for f in getattr(source, "files", ())]
        broken = next(iter(broken_data(files, io)), None)
        if broken is not None:
            raise broken from error
        if isinstance(error, duckdb.IOException | OSError):
            raise LakeUnavailable(
                f"data files cannot be read: {told(error)}. Is the store reachable, and is there "
                "room on the disk? Run again then."
            ) from error
        raise


def blames_a_file(error: duckdb.Error) -> bool:
    """Whether DuckDB says of a statement that a file is to blame, not who wrote it.

    Of bytes that make no sense it raises an error without a kind.
    """
    if isinstance(error, duckdb.InvalidInputException):
        return ".parquet" in str(error)
    return isinstance(error, duckdb.IOException) or type(error) is duckdb.Error


def broken_data(
    files: Iterable[DataFile], io: FileIO | None = None, *, deep: bool = True
) -> Iterator[LakeUnavailable]:
    """What is wrong with each data file that is missing, of another size or, ``deep``, unreadable.

    Deep reads every row of a file.
    """
    whole = []
    for file in files:
        try:
            _require_size(io, file.file_path, file.file_size_in_bytes)
        except FAULTS as error:
            yield about_data(file.file_path, error)
        else:
            whole.append(file)
    for file in whole if deep else ():
        try:
            _read_through(file, io)
        except FAULTS as error:
            yield about_data(file.file_path, error)


def _read_through(file: DataFile, io: FileIO | None) -> None:
    with _opened(file.file_path, io) as source:
        try:
            with pq.ParquetFile(source) as parquet:
                rows = sum(batch.num_rows for batch in parquet.iter_batches())
        except OSError as error:
            # Arrow says so of bytes that make no sense; what a system refuses has a number.
            if error.errno is None and "AWS Error" not in str(error):
                raise ValueError(told(error)) from error
            raise
    if rows != file.record_count:
        raise ValueError(f"{rows} rows instead of {file.record_count}")


def _opened(location: str, io: FileIO | None) -> pa.NativeFile:
    path = local_path(location)
    if path is not None:
        return pa.OSFile(path, "rb")
    stream: pa.NativeFile = _store(io).new_input(location).open()  # type: ignore[assignment]
    return stream


def _store(io: FileIO | None) -> FileIO:
    if io is None:
        raise PermissionError("it is in a store and no credentials were given for it")
    return io


def _require_size(io: FileIO | None, location: str, size: int) -> None:
    path = local_path(location)
    found = len(_store(io).new_input(location)) if path is None else Path(path).stat().st_size
    if found != size:
        raise ValueError(f"{found:,} of {size:,} bytes")


def about_data(location: str, error: Exception) -> LakeUnavailable:
    """What to say of a data file, with the day to materialize in its stead."""
    before, _, after = location.partition("/data/")
    table = ".".join(before.rsplit("/", 2)[1:])
    days = [p.partition("=")[2] for p in after.split("/") if p.partition("=")[0].endswith("_date")]
    return _about(table, "the data file", location, error, days[0] if days else None)


def _about(
    table: str, what: str, location: str, error: Exception, day: str | None = None
) -> LakeUnavailable:
    """FileBroken for what is missing or damaged, LakeUnavailable for what is out of reach."""
    if isinstance(error, LakeUnavailable):
        return error
    if isinstance(error, UNREACHABLE) and not isinstance(error, FileNotFoundError):
        return LakeUnavailable(
            f"{table}: {what} {location} cannot be read: {told(error)}. Is the store reachable, "
            "and may K2 read there? Run again then."
        )
    state = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged ({told(error)})"
    again = "" if day is None else f"{_again(table, day)} "
    return FileBroken(f"{table}: {what} {location} {state}. {again}{RESTORE}")


def _again(table: str, day: str) -> str:
    if table.startswith("bronze."):
        return (
            f"While Kafka holds all of {day}, materialize it with `mode: replace` (see "
            "docs/backfill.md)."
        )
    return f"Materialize {day} of {table} again in the Dagster UI, which replaces the file."


def broken_table(name: str, location: str | None, error: Exception) -> LakeUnavailable:
    """What to say when the metadata file of a table cannot be read."""
    return _about(name, "the metadata file", location or "(unknown)", error)


def fault(error: LakeUnavailable) -> str:
    """What is wrong, without what is to be done."""
    text = str(error)
    for step in (" Materialize ", " While Kafka holds ", " If the whole warehouse "):
        text = text.split(step)[0]
    return text.rstrip(".")


def told(error: BaseException) -> str:
    """Kind and message of an error on one line, without what libraries draw around it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join(str(cause).split(" Detail: ")[0].split(" [type=")[0].split()).rstrip(".")
    number = getattr(cause, "errno", None)
    if isinstance(number, int) and (meaning := os.strerror(number)) not in text:
        text = f"{text}: {meaning}"
    return f"{cause.__class__.__name__}: {text[:300]}" if text else cause.__class__.__name__
