"""``k2 lake migrate``: the tables get the columns that their records have gained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME


def migrate(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose tables are meant.")
    ] = DEFAULT_HOME,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be added, and add nothing.")
    ] = False,
) -> None:
    """Give every table the columns that this version of K2 has and the lake has not yet.

    Whatever writes does so by itself, table by table; this does it at once, and says beforehand
    whether it can be done. Only metadata is written: rows of before have null in a new column. A
    table that is of another, incompatible version is an error, and then no table is changed.

    Look first: k2 lake migrate --dry-run
    """
    from k2_cli.show_lake import wide_console
    from k2_lake.catalog import LakeSettings
    from k2_lake.evolution import change
    from k2_lake.read_sql import existing_lake
    from k2_lake.tables import TABLES

    lake = existing_lake(LakeSettings.from_environment(os.environ, home))
    tables = {name: lake.existing(name) for name in TABLES}
    changes = {n: change(t, TABLES[n]) for n, t in tables.items() if t is not None}
    for found in changes.values():
        found.refuse()
    console = wide_console()
    needed = {name: found for name, found in changes.items() if found.is_needed}
    for name, found in needed.items():
        console.print(f"{name}: {found.told}")
        if not dry_run:
            lake.table(name)
    if not needed:
        console.print(f"All {len(changes)} tables are as this version of K2 has them.")
    elif dry_run:
        console.print("Nothing was changed: this was a dry run.")
