"""``k2 lake``: how the tables stand, and their upkeep."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_cli.lake_migrate import migrate
from k2_cli.lake_retain import retain
from k2_cli.lake_upkeep import compact, expire, gc

lake = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

lake.command("compact")(compact)
lake.command("expire")(expire)
lake.command("gc")(gc)
lake.command("retain")(retain)
lake.command("migrate")(migrate)

Home = Annotated[Path, typer.Option(envvar="K2_HOME", help="The folder whose tables are meant.")]


class Format(StrEnum):
    """How figures are written."""

    TABLE = "table"
    JSON = "json"


@lake.callback()
def _lake() -> None:
    """The tables of a home: how they stand, and their upkeep."""


@lake.command("status")
def status(
    home: Home = DEFAULT_HOME,
    format: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TABLE,  # noqa: A002
) -> None:
    """Show of every table its rows, files and snapshots, and who still waits for them.

    *to merge* counts small files that share their day with others: `k2 lake compact` makes one of
    them. *snapshots* are states of the table that can still be read; `k2 lake expire` keeps the
    newest hundred or so, those with a name, and those that another table has yet to follow.
    *waiting* names the tables that have not consumed everything. Only reads; a home in use may be
    looked at.

    Example: k2 lake status --format json
    """
    from k2_cli.show_lake import write_status
    from k2_lake.catalog import LakeSettings
    from k2_lake.maintenance.status import survey
    from k2_lake.read_sql import existing_lake

    opened = existing_lake(LakeSettings.from_environment(os.environ, home))
    write_status(list(survey(opened)), as_json=format is Format.JSON)
