"""What stood in files that a recompute replaces: it must do without those that are broken."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
from pyiceberg.table import Table

from k2_lake.commit import commit
from k2_lake.engine import Engine
from k2_lake.history import Mode
from k2_lake.scan import Files
from k2_market.errors import FileBroken


def readable_rows(engine: Engine, files: Files) -> tuple[pa.Table, bool]:
    """The rows of those files that can be read, and whether all of them could."""
    try:
        return engine.query("select * from rows", {"rows": files}, files.schema), True
    except FileBroken:
        one = [Files(files.schema, (f,)) for f in files.files] if len(files.files) > 1 else []
        parts = [readable_rows(engine, file)[0] for file in one]
        return pa.concat_tables([files.schema.empty_table(), *parts]), False


def drop_broken(engine: Engine, table: Table, files: Files, day: date) -> None:
    """Take those of a day's files out of the table that cannot be read, if there are any."""
    if readable_rows(engine, files)[1]:
        return
    one = [Files(files.schema, (f,)) for f in files.files]
    broken = [part.files[0] for part in one if not readable_rows(engine, part)[1]]
    commit(table, remove=broken, mode=Mode.RECOMPUTE, days=[day])
