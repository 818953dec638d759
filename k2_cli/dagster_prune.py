"""``k2 dagster``: Dagster's own history of runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME, environment
from k2_market.errors import UsageError

dagster = typer.Typer(help="Dagster's own history of runs.", no_args_is_help=True)


@dagster.callback()
def _dagster() -> None:
    """Dagster's own history of runs."""


@dagster.command("prune")
def prune(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose runs are meant.")
    ] = DEFAULT_HOME,
    keep_days: Annotated[
        int | None, typer.Option(min=1, metavar="DAYS", help="How long ended runs stay. [7]")
    ] = None,
    keep_failed_days: Annotated[
        int | None, typer.Option(min=1, metavar="DAYS", help="How long failed runs stay. [30]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the runs that would go, and end.")
    ] = False,
) -> None:
    """Delete runs that ended long ago, with their events and log files.

    Whatever its age a run stays that a partition was last materialized by, failed in or was checked
    in: no page of an asset changes. A tick leaves about 180 kB, so the platform does this once a
    day by itself (the schedule `history`); this command is for other times and other ages. It may
    run beside the platform, and may be stopped at any time.

    With DAGSTER_HOME set to an instance of your own, that one is meant, whatever --home says.
    """
    import dagster as dg

    from k2_assets.run_history import KEEP_DAYS, KEEP_FAILED_DAYS, Pruned
    from k2_assets.run_history import prune as prune_runs
    from k2_cli.show import print_table, shown_progress

    folder = Path(os.environ.get("DAGSTER_HOME") or environment(home.absolute())["DAGSTER_HOME"])
    if not (folder / "dagster.yaml").exists():
        raise UsageError(f"no run was ever made in {str(home)!r}. To see some: `k2 demo`.")
    os.environ["DAGSTER_HOME"] = str(folder)
    done = Pruned(0, 0, 0)
    with dg.DagsterInstance.get() as instance, shown_progress() as shown:
        for done in prune_runs(
            instance,
            datetime.now(UTC),
            keep_days=keep_days or KEEP_DAYS,
            keep_failed_days=keep_failed_days or KEEP_FAILED_DAYS,
            dry_run=dry_run,
        ):
            shown.update(f"deleting runs: {done.deleted:,}")
    rows = [
        ("runs that have ended", done.ended),
        ("would be deleted" if dry_run else "deleted", done.deleted),
        ("old, but shown by a partition", done.old - done.deleted),
    ]
    print_table("History", [(name, f"{count:,}") for name, count in rows])
