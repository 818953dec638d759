"""``k2 lake retain``: days older than the limit of their table are dropped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2_cli.home import DEFAULT_HOME

if TYPE_CHECKING:
    from k2_lake.maintenance.policy import Policy
    from k2_lake.maintenance.retention import Aged


def retain(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose tables are meant.")
    ] = DEFAULT_HOME,
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this table, such as gold.ohlcv_1m; may be given several times. [all]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be dropped, and drop nothing.")
    ] = False,
) -> None:
    """Drop the days that are older than their table is kept.

    Candles are kept for 90 (1m), 180 (5m), 365 (30m), 1095 (1h) and 1825 days (1d), and everything
    else forever, unless HOME/retention.yaml says otherwise, or the file that K2_RETENTION names:

        keep: {bronze: 30, gold.trades: 400, gold.ohlcv_1m: forever}

    A day whose rows another table has yet to follow stays. What was made of a dropped day stays as
    it is: it is never computed anew from what is left. The space is free once `k2 lake expire` and
    `k2 lake gc` have run; until then a dropped day can be read as of an earlier snapshot.

    Look first: k2 lake retain --dry-run
    """
    from k2_cli.show import shown_progress
    from k2_lake.catalog import LakeSettings
    from k2_lake.maintenance.policy import policy_of
    from k2_lake.maintenance.retention import named
    from k2_lake.maintenance.retention import retain as drop
    from k2_lake.read_sql import existing_lake

    tables = named(table or [])
    settings = LakeSettings.from_environment(os.environ, home)
    policy, lake = policy_of(os.environ, settings.home), existing_lake(settings)
    aged = []
    with shown_progress() as shown:
        for each in drop(lake, policy, datetime.now(UTC).date(), tables, dry_run=dry_run):
            shown.update(f"retention: {each.table}")
            aged.append(each)
    _show(policy, aged, dry_run=dry_run)


def _show(policy: Policy, aged: Sequence[Aged], *, dry_run: bool) -> None:
    from k2_cli.show_lake import NOTHING_YET, figures_table, size_text, wide_console

    console = wide_console()
    if not aged:
        console.print(NOTHING_YET)
        return
    what = "to drop" if dry_run else "dropped"
    shown = figures_table(
        "table", "kept", "first day kept", f"days {what}", "rows", "files", "size"
    )
    shown.add_column("waits for")
    for a in aged:
        figures = (f"{len(a.days):,}", f"{a.rows:,}", f"{a.files:,}", size_text(a.bytes))
        first = "" if a.first_kept is None else a.first_kept.isoformat()
        shown.add_row(a.table, policy.told(a.table), first, *figures, a.waits_for)
    console.print(shown)
    days, rows = sum(len(a.days) for a in aged), sum(a.rows for a in aged)
    told = f"{days:,} days of {rows:,} rows {'would be' if dry_run else 'were'} dropped, by "
    console.print(told + (policy.file or "the defaults: there is no retention.yaml") + ".")
