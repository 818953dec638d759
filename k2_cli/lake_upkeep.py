"""``k2 lake compact``, ``expire`` and ``gc``: the upkeep of the tables, which changes no row."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2_cli.home import DEFAULT_HOME

if TYPE_CHECKING:
    from k2_lake.catalog import Lake
    from k2_lake.engine import Engine
    from k2_lake.maintenance.rounds import Act, Round

_Home = Annotated[Path, typer.Option(envvar="K2_HOME", help="The folder whose tables are meant.")]
_Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        help="Only this table, such as gold.trades; may be given several times. [all]",
        show_default=False,
    ),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
]


def compact(home: _Home = DEFAULT_HOME, table: _Tables = None, dry_run: _DryRun = False) -> None:
    """Put the many small files of closed days together.

    A tick leaves a file in every table it writes to: thousands a day, each of which a reader has to
    open. A day (UTC) that is over, and was not written to for an hour, gets few large files in the
    record's order. Before they take the place of the small ones, in one commit, their rows are
    counted and their ids compared. Rows stay as they are, and nobody has to follow.

    The small files stay on disk while a snapshot that is kept needs them: see `k2 lake expire` and
    `k2 lake gc`. While Dagster runs it does all this by itself. May be stopped at any time.

    Example: k2 lake compact --table gold.trades --dry-run
    """
    from k2_lake.maintenance.rounds import compacting

    _round(
        home,
        table,
        "compaction",
        lambda lake, engine: compacting(lake, engine, dry_run=dry_run),
    )


def expire(
    home: _Home = DEFAULT_HOME,
    table: _Tables = None,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest snapshots stay.")] = 100,
    dry_run: _DryRun = False,
) -> None:
    """Forget old snapshots, so that commits stay quick.

    Besides the newest there stay those of the last quarter of an hour, those with a tag, and all
    that a table made from this one has yet to follow. What is forgotten can no longer be read as of
    then; its files are deleted by `k2 lake gc`.

    Example: k2 lake expire --dry-run
    """
    from k2_lake.maintenance.rounds import expiring

    _round(
        home,
        table,
        "expiry",
        lambda lake, engine: expiring(lake, engine, keep=keep, dry_run=dry_run),
    )


def gc(
    home: _Home = DEFAULT_HOME,
    table: _Tables = None,
    days: Annotated[
        int, typer.Option(min=1, help="Only files that have lain there for so many days.")
    ] = 3,
    dry_run: _DryRun = False,
) -> None:
    """Delete the files that no snapshot reaches.

    Those are files that were compacted, dropped or replaced and whose snapshots are forgotten, and
    what killed writers left behind. A file of a commit under way is younger than the days, and is
    left alone. Where a file that is needed is missing, nothing is deleted.

    Example: k2 lake gc --dry-run
    """
    from k2_lake.maintenance.rounds import sweeping

    grace = timedelta(days=days)
    _round(
        home,
        table,
        "gc",
        lambda lake, engine: sweeping(lake, engine, grace=grace, dry_run=dry_run),
    )


def _round(
    home: Path, tables: list[str] | None, what: str, act: Callable[[Lake, Engine], Act]
) -> None:
    """Raises typer.Exit with 1 when a table could not be seen to."""
    from k2_cli.show import shown_progress
    from k2_lake.catalog import LakeSettings
    from k2_lake.engines import engine_of
    from k2_lake.maintenance.rounds import Round, named
    from k2_lake.read_sql import existing_lake

    names = named(tables or [])
    lake, done = existing_lake(LakeSettings.from_environment(os.environ, home)), Round()
    with shown_progress() as shown:
        for name in done.go(names, act(lake, engine_of(lake, os.environ))):
            shown.update(f"{what}: {name}")
    _show(done, what)
    if done.failed:
        raise typer.Exit(1)


def _show(done: Round, what: str) -> None:
    from k2_cli.show import STANDARD_ERROR
    from k2_cli.show_lake import write_deeds

    write_deeds(done.deeds, f"{what}: nothing to do")
    for error in done.failed.values():
        STANDARD_ERROR.print(f"k2: {error}", soft_wrap=True, highlight=False)
