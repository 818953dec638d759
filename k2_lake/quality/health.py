"""Whether the lake is sound: catalog, store, and of every table metadata, files and progress.

Only reads, but for one small file that is written into the warehouse and removed again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table
from sqlalchemy import text

from k2_lake.catalog import Lake, LakeSettings
from k2_lake.evolution import change
from k2_lake.faults import about_data, broken_data, broken_manifests, fault, opening
from k2_lake.history import consumed, head_sequence, lineage
from k2_lake.locations import local_path
from k2_lake.maintenance.garbage import GRACE, old_garbage, stored_files
from k2_lake.maintenance.waiting import waiting
from k2_lake.scan import planned
from k2_lake.tables import TABLES, name_of, table_def
from k2_market.errors import K2Error, LakeUnavailable
from k2_market.findings import Finding, State

CATALOG, STORE = "catalog", "store"
# Commits take 29 ms with 10 snapshots, 184 with 200 and 555 with 500; about 100 are kept.
MANY_SNAPSHOTS = 300
CLOCK_OFF = timedelta(seconds=5)
EPOCH = date(1970, 1, 1)
_AGAIN = "then `k2 doctor` again"


def lake_findings(settings: LakeSettings, *, deep: bool = False) -> Iterator[Finding]:
    """What is found of the lake at these settings; ``deep`` reads every data file through."""
    lake = Lake(settings)
    try:
        yield from _catalog(lake)
    except LakeUnavailable as error:
        yield Finding(CATALOG, "catalog", State.WRONG, str(error), _start_catalog(settings))
        return
    store = _store(lake)
    yield store
    if store.state is State.OK:
        yield from _tables(lake, deep)


def _start_catalog(settings: LakeSettings) -> str:
    if settings.catalog_uri.startswith("sqlite:///"):
        return f"restore {settings.home / 'catalog.db'} from a backup, {_AGAIN}"
    return f"start the database of K2_CATALOG_URI, {_AGAIN}"


def _catalog(lake: Lake) -> Iterator[Finding]:
    uri = lake.settings.catalog_uri
    path = Path(uri.removeprefix("sqlite:///").split("?")[0])
    if uri.startswith("sqlite:///") and not path.is_file():
        raise LakeUnavailable(f"the catalog {path} does not exist")
    kind = uri.split(":")[0].split("+")[0]
    with opening("the catalog"), lake.catalog.engine.connect() as connection:
        if kind == "sqlite":
            told = str(connection.execute(text("pragma quick_check(1)")).scalar())
            if told != "ok":
                raise LakeUnavailable(f"the catalog {path} is damaged: {told}")
        else:
            yield _clock(connection.execute(text("select current_timestamp")).scalar_one())
    known = sum(lake.metadata_location(name) is not None for name in TABLES)
    yield Finding(CATALOG, "catalog", State.OK, f"{kind}, {known} of {len(TABLES)} tables made")


def _clock(theirs: datetime) -> Finding:
    off = datetime.now(UTC) - theirs.astimezone(UTC)
    state = State.WARNING if abs(off) > CLOCK_OFF else State.OK
    told = f"this clock is {off.total_seconds():+.1f} s from the database's"
    return Finding(
        "clock", "clock", state, told, "synchronise the clocks (NTP)" if state != "ok" else ""
    )


def _store(lake: Lake) -> Finding:
    where = lake.settings.warehouse
    probe = f"{where.rstrip('/')}/k2-doctor-{uuid.uuid4().hex}"
    folder = local_path(where)
    try:
        if folder is not None and not Path(folder).is_dir():
            raise LakeUnavailable(f"the warehouse {where} does not exist")
        with opening(f"the warehouse {where}"):
            _write_and_remove(lake.io, probe)
    except LakeUnavailable as error:
        mend = "mount or start it, and see that K2 may write there: K2_WAREHOUSE, K2_S3_*, AWS_*"
        return Finding(STORE, "warehouse", State.WRONG, str(error), mend)
    return Finding(STORE, "warehouse", State.OK, f"{where} is read and written")


def _write_and_remove(io: PyArrowFileIO, location: str) -> None:
    with io.new_output(location).create() as stream:
        stream.write(b"k2")
    try:
        with io.new_input(location).open() as stream:
            if stream.read() != b"k2":
                raise OSError("what was written came back otherwise")
    finally:
        io.delete(location)


def _tables(lake: Lake, deep: bool) -> Iterator[Finding]:
    for name in TABLES:
        try:
            table = lake.existing(name)
        except LakeUnavailable as error:
            yield Finding(
                name, "metadata", State.WRONG, fault(error), f"restore the file, {_AGAIN}"
            )
            continue
        if table is not None:
            yield from _table(lake, table, deep)


def _table(lake: Lake, table: Table, deep: bool) -> Iterator[Finding]:
    found = [*_schema(table), *_manifests(table)]
    if not found:
        found += _data(lake, table, deep)
    if not found:
        found += _orphans(table)
    found += [*_progress(lake, table), *_snapshots(table)]
    yield from found
    if all(f.part != name_of(table) for f in found):
        yield _sound(table)


def _sound(table: Table) -> Finding:
    name = name_of(table)
    files = planned(table, table_def(name).schema).files
    rows = sum(f.record_count for f in files)
    told = f"{rows:,} rows in {len(files):,} files"
    if coming := change(table, table_def(name)).told:
        told += f"; its record has changed: the next write will {coming}"
    return Finding(name, "table", State.OK, told)


def _schema(table: Table) -> Iterator[Finding]:
    found = change(table, table_def(name_of(table)))
    if refused := (*found.reading, *found.writing):
        mend = "use the version of K2 that wrote this lake (docs/schema-evolution.md)"
        yield Finding(name_of(table), "columns", State.WRONG, "; ".join(refused), mend)


def _manifests(table: Table) -> Iterator[Finding]:
    for broken in broken_manifests(table, lineage(table)):
        yield Finding(
            name_of(table), "metadata", State.WRONG, fault(broken), f"restore it, {_AGAIN}"
        )


def _data(lake: Lake, table: Table, deep: bool) -> Iterator[Finding]:
    """By listing the table's folder once: a file that is missing or of another size."""
    name = name_of(table)
    files = planned(table, table_def(name).schema).files
    stored = {f.path: f.size for f in stored_files(table)} if files else {}
    for file in files:
        size = stored.get(PyArrowFileIO.parse_location(file.file_path)[2])
        error: Exception | None = None
        if size is None:
            error = FileNotFoundError(file.file_path)
        elif size != file.file_size_in_bytes:
            error = ValueError(f"{size:,} of {file.file_size_in_bytes:,} bytes")
        broken = None if error is None else about_data(file.file_path, error)
        if broken is None and deep:
            broken = next(broken_data([file], lake.io), None)
        if broken is not None:
            yield Finding(
                name, "data", State.WRONG, fault(broken), _materialize(name, file.partition)
            )


def _materialize(table: str, partition: Any) -> str:
    if not table_def(table).record.day:
        return "restore the file from a backup"
    day = partition[0] if isinstance(partition[0], date) else EPOCH + timedelta(days=partition[0])
    if table.startswith("bronze."):
        return f"while Kafka holds {day}, materialize it with mode: replace (docs/backfill.md)"
    return f"k2 backfill --asset {table} --from {day} --to {day}"


def _orphans(table: Table) -> Iterator[Finding]:
    name = name_of(table)
    try:
        orphans = old_garbage(table)
    except K2Error:
        return  # a file that an older snapshot needs is gone: its own finding tells
    if orphans:
        size = sum(f.size for f in orphans)
        told = f"unused files: {len(orphans):,}, {size:,} bytes, older than {GRACE.days} days"
        yield Finding(name, "orphans", State.WARNING, told, f"k2 lake gc --table {name}")


def _progress(lake: Lake, table: Table) -> Iterator[Finding]:
    """Whether it has consumed no more than there is, and nothing that others need is gone."""
    name = name_of(table)
    # Another table that cannot be read has a finding of its own.
    with suppress(LakeUnavailable):
        for source, done in consumed(table).items():
            of = lake.existing(source)
            head = 0 if of is None else head_sequence(of)
            furthest = max([done.through, *done.ahead.values()])
            if furthest > head:
                told = f"has consumed {source} up to commit {furthest}, which ends at {head}"
                mend = f"restore {source} and {name} as they were at one time"
                yield Finding(name, "progress", State.WRONG, told, mend)
    with suppress(LakeUnavailable):
        for each in waiting(lake, table):
            if each.lost:
                told = f"snapshots that {each.consumer} has not followed are gone"
                mend = f"materialize all days of {each.consumer} again"
                yield Finding(name, "progress", State.WRONG, told, mend)


def _snapshots(table: Table) -> Iterator[Finding]:
    name, kept = name_of(table), lineage(table)
    if len(kept) > MANY_SNAPSHOTS:
        size = len(table.io.new_input(table.metadata_location))
        told = f"{len(kept):,} snapshots are kept, {size:,} bytes of metadata: commits grow slow"
        yield Finding(name, "snapshots", State.WARNING, told, f"k2 lake expire --table {name}")
    ahead = kept[0].timestamp_ms / 1000 - datetime.now(UTC).timestamp() if kept else 0.0
    if ahead > CLOCK_OFF.total_seconds():
        told = f"its newest commit is {ahead:,.0f} s in the future: a clock is or was wrong"
        mend = "synchronise the clocks (NTP); until then reads as of a time are off by that much"
        yield Finding("clock", name, State.WARNING, told, mend)
