"""What stood in files that a recompute replaces: it must do without those that are broken."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import DateType

from k2_lake.commit import commit
from k2_lake.engine import Engine
from k2_lake.history import Mode, distinct_days
from k2_lake.scan import Files
from k2_market.errors import FileBroken

EPOCH_DAY = date(1970, 1, 1)


def readable_rows(engine: Engine, files: Files) -> tuple[pa.Table, bool]:
    """The rows of those files that can be read, and whether all of them could."""
    try:
        return engine.query("select * from rows", {"rows": files}, files.schema), True
    except FileBroken:
        one = [files.only((f,)) for f in files.files] if len(files.files) > 1 else []
        parts = [readable_rows(engine, file)[0] for file in one]
        return pa.concat_tables([files.schema.empty_table(), *parts]), False


def drop_broken(engine: Engine, table: Table, files: Files, day: date) -> None:
    """Take those of a day's files out of the table that cannot be read, if there are any."""
    if readable_rows(engine, files)[1]:
        return
    one = [files.only((f,)) for f in files.files]
    broken = [part.files[0] for part in one if not readable_rows(engine, part)[1]]
    commit(table, remove=broken, mode=Mode.RECOMPUTE, days=[day])


def days_held(engine: Engine, table: Table, column: str, files: Files) -> set[date]:
    """The days of that column in the files; of a broken one all days between its bounds."""
    try:
        return _days(engine, column, files)
    except FileBroken:
        found: set[date] = set()
        for file in files.files:
            try:
                found |= _days(engine, column, files.only((file,)))
            except FileBroken:
                found |= _within_bounds(table, column, file)
        return found


def _days(engine: Engine, column: str, files: Files) -> set[date]:
    rows = engine.query(f"select distinct {column} from held", {"held": files})
    return set(distinct_days(rows[column]))


def _within_bounds(table: Table, column: str, file: DataFile) -> set[date]:
    field_id = table.schema().find_field(column).field_id
    first: Any = from_bytes(DateType(), file.lower_bounds[field_id])
    last: Any = from_bytes(DateType(), file.upper_bounds[field_id])
    return {EPOCH_DAY + timedelta(days=n) for n in range(first, last + 1)}
