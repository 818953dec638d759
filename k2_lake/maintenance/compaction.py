"""Compaction: the many small files of a closed day become few, in order; rows stay as they are.

The new files are written and compared with the old ones first, which takes its time; then one
commit puts them in the place of exactly those files. What others append meanwhile is untouched, and
where they replaced one of the files, nothing is committed and the day is looked at anew. Killed
anywhere, it leaves at most files that nobody knows, which ``garbage`` removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import PrimitiveType

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts, written_files
from k2_lake.engine import Engine
from k2_lake.faults import FAULTS
from k2_lake.history import UNFOLLOWED, Mode, change_of, lineage_from_head
from k2_lake.maintenance.ledger import Begun, figures_with, record
from k2_lake.outcome import Outputs
from k2_lake.read_sql import existing_table
from k2_lake.scan import Files, day_of_file, files_of, of_day, planned
from k2_lake.tables import name_of, table_def
from k2_market.errors import CommitConflict, InvariantBroken, K2Error
from k2_market.maintenance import Action, Deed
from k2_market.records import Record

# A file with fewer rows and bytes is small. What is written at once has several times as many, so
# that no file is written again for its size; and it fits into memory.
SMALL_ROWS, SMALL_BYTES = 125_000, 16 * 1024 * 1024
ROWS_AT_ONCE, BYTES_AT_ONCE = 500_000, 64 * 1024 * 1024
# A day with fewer small files is left alone.
WORTH_IT = 4
# A day that was written to in this time may be written to again.
QUIET = timedelta(hours=1)

# The first of these that a record has says when its rows came, and so which files lie together.
_TIMES = ("timestamp", "window_start", "kafka_timestamp", "received_at", "run_at")
_IDS = ("epoch", "kafka_partition", "kafka_offset", "frame_index")
_DIFFERING = """
select count(*) as n from (
  (select {ids} from before except all select {ids} from after)
  union all (select {ids} from after except all select {ids} from before)) d
"""


class _Replaced(Exception):
    """The files that were rewritten are not the table's any more."""


def compact(
    lake: Lake,
    engine: Engine,
    name: str,
    *,
    today: date | None = None,
    quiet: timedelta = QUIET,
    worth_it: int = WORTH_IT,
    dry_run: bool = False,
) -> Iterator[Deed]:
    """Compact the closed days of a table that have many small files, the worst first.

    Closed is a UTC day before ``today`` that was not written to for ``quiet``. Each day is a
    commit and a row on record; a dry run goes on record too. Raises UnknownName, LakeUnavailable,
    and InvariantBroken, with nothing committed, where the new files do not hold what the old did.
    """
    table, end = existing_table(lake, name), today or datetime.now(UTC).date()
    if table is None or not table_def(name).record.day:
        return
    for day in due_days(table, end, quiet, worth_it):
        begun = Begun(name, Action.COMPACT, figures_with(table, _of(table, day)), day, dry_run)
        deed = _would_be(begun, table, day) if dry_run else _compact(lake, engine, begun, day)
        if deed is not None:
            record(lake, [deed])
            yield deed


def due_days(
    table: Table, today: date, quiet: timedelta = QUIET, worth_it: int = WORTH_IT
) -> list[date]:
    """The closed days with at least ``worth_it`` files to put together, most files first."""
    counts: dict[date, int] = {}
    for group in _small(planned(table, table_def(name_of(table)).schema).files):
        day = day_of_file(group[0])
        counts[day] = counts.get(day, 0) + len(group)
    busy = _written_since(table, datetime.now(UTC) - quiet)
    due = [d for d, n in counts.items() if n >= worth_it and d < today and d not in busy]
    return sorted(due, key=lambda d: (-counts[d], d))


def _written_since(table: Table, since: datetime) -> set[date]:
    found: set[date] = set()
    for snapshot in lineage_from_head(table):
        if snapshot.timestamp_ms < since.timestamp() * 1000:
            break
        change = change_of(snapshot)
        found |= set() if change.mode in UNFOLLOWED else change.days
    return found


def small_files(files: Iterable[DataFile]) -> int:
    """How many of these files could be put together with others."""
    return sum(len(group) for group in _small(files))


def _small(files: Iterable[DataFile]) -> list[list[DataFile]]:
    """The small files of each partition that has more than one."""
    groups: dict[str, list[DataFile]] = {}
    for file in files:
        if file.record_count < SMALL_ROWS and file.file_size_in_bytes < SMALL_BYTES:
            groups.setdefault(str(file.partition), []).append(file)
    return [group for group in groups.values() if len(group) > 1]


def _of(table: Table, day: date) -> tuple[DataFile, ...]:
    definition = table_def(name_of(table))
    return planned(table, definition.schema, of_day(definition.record.day, day)).files


def _would_be(begun: Begun, table: Table, day: date) -> Deed:
    fewer = sum(len(part) - 1 for part in _parts(table, _of(table, day)))
    after = replace(begun.before, files=begun.before.files - fewer)
    return begun.done(after)


@retry_conflicts
def _compact(lake: Lake, engine: Engine, begun: Begun, day: date) -> Deed | None:
    """None where somebody else has done it."""
    table = lake.table(begun.table_name)
    parts = _parts(table, _of(table, day))
    if not parts:
        return None
    outputs = Outputs(table.io)
    try:
        new = [file for part in parts for file in _rewritten(table, engine, part, outputs)]
    except (K2Error, *FAULTS):
        outputs.undo()
        raise
    try:
        old = [file for part in parts for file in part]
        done = _put_in_place(lake, begun.table_name, day, old, new)
    except (CommitConflict, _Replaced) as error:
        outputs.undo()
        raise CommitConflict(str(error)) from error
    return begun.done(figures_with(done, _of(done, day)))


def _parts(table: Table, files: Iterable[DataFile]) -> list[list[DataFile]]:
    """The small files to put together: of one partition, near in time, and fit for memory."""
    parts: list[list[DataFile]] = []
    for group in _small(files):
        part: list[DataFile] = []
        for file in _by_time(table, group):
            rows = sum(f.record_count for f in part) + file.record_count
            size = sum(f.file_size_in_bytes for f in part) + file.file_size_in_bytes
            if rows > ROWS_AT_ONCE or size > BYTES_AT_ONCE:
                parts.append(part)
                part = []
            part.append(file)
        parts.append(part)
    return [part for part in parts if len(part) > 1]


def _by_time(table: Table, files: Iterable[DataFile]) -> list[DataFile]:
    columns = table.schema().column_names
    column = next((c for c in _TIMES if c in columns), columns[0])
    field = table.schema().find_field(column)
    kind = cast("PrimitiveType", field.field_type)

    def earliest(file: DataFile) -> tuple[Any, str]:
        bound = (file.lower_bounds or {}).get(field.field_id)
        return 0 if bound is None else from_bytes(kind, bound), file.file_path

    return sorted(files, key=earliest)


def _rewritten(
    table: Table, engine: Engine, part: Sequence[DataFile], outputs: Outputs
) -> list[DataFile]:
    """The rows of these files in new ones, in order, read back and compared."""
    definition = table_def(name_of(table))
    before = files_of(table, definition.schema, part)
    order = list(dict.fromkeys((*definition.record.order, *_ids(definition.record))))
    new = _in_order(table, engine, before, order, outputs)
    _require_same(table, engine, before, files_of(table, definition.schema, new))
    return new


def _in_order(
    table: Table, engine: Engine, old: Files, order: Sequence[str], outputs: Outputs
) -> list[DataFile]:
    procedures = engine.procedures()
    if procedures is not None:
        new = procedures.rewritten(table, old, order)
        outputs.adopt(new)
        return new
    sql = f"select * from old order by {', '.join(order)}"
    return written_files(table, engine.query(sql, {"old": old}, old.schema), outputs)


def _require_same(table: Table, engine: Engine, before: Files, after: Files) -> None:
    """Raise InvariantBroken unless both hold as many rows, with the same ids as often."""
    ids = ", ".join(_ids(table_def(name_of(table)).record))
    sql = _DIFFERING.format(ids=ids)
    [found] = engine.query(sql, {"before": before, "after": after}).to_pylist()
    if before.rows != after.rows or found["n"]:
        raise InvariantBroken(
            f"{name_of(table)}: {before.rows} rows in {len(before.files)} files would have become "
            f"{after.rows} in {len(after.files)}, and {found['n']} ids differ. Nothing was "
            f"committed. Do the files hold what their metadata says? The first: {before.paths[0]}"
        )


def _ids(record: Record) -> list[str]:
    """What tells one row of such a table from any other, every arrival of it."""
    return list(dict.fromkeys((*record.key, *(c for c in _IDS if c in record.columns))))


@retry_conflicts
def _put_in_place(
    lake: Lake, name: str, day: date, old: Sequence[DataFile], new: Sequence[DataFile]
) -> Table:
    """One commit that removes the old files and adds the new.

    A commit of somebody else beside these files costs another attempt, and not the work done.
    Raises Replaced where one of the files is not the table's any more.
    """
    table = lake.table(name)
    if {f.file_path for f in old} - {f.file_path for f in _of(table, day)}:
        raise _Replaced(f"{name}: another writer replaced files of {day}")
    commit(
        table,
        add_files=new,
        remove=old,
        mode=Mode.MAINTENANCE,
        days=[day],
        figures={"files_before": len(old), "files_after": len(new)},
    )
    return table
