"""``k2 backfill``: tables computed anew for a range of days."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME

_DAY = ["%Y-%m-%d"]


def backfill(
    start: Annotated[
        datetime,
        typer.Option("--from", formats=_DAY, metavar="DAY", help="The first day (UTC)."),
    ],
    end: Annotated[
        datetime,
        typer.Option("--to", formats=_DAY, metavar="DAY", help="The last day, itself included."),
    ],
    asset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE",
            help="Only this table, such as gold.ohlcv_1m; may be given several times. "
            "[all that is made from bronze]",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Leave out days that the last backfill of this range has done."
        ),
    ] = False,
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose tables are meant.")
    ] = DEFAULT_HOME,
) -> None:
    """Compute days anew, a run for each (with Spark one for all), and print what became of each.

    Both days are included, as in Dagster's ranges. A day is a day of arrival for bronze and silver
    and a day of trading for gold and candles. Without --asset silver, gold, gaps and candles are
    computed from what bronze holds, in their order. A table of bronze is reconciled with Kafka, if
    it is asked for: what is missing is fetched, the rest compared, nothing deleted.

    A day that fails fails alone: the others go on, and the exit code is 1. What was touched and not
    asked for, such as candles of new trades or the days of trading of an arrival, follows at the
    end. The runs stand in Dagster's history. Works on a home in use by `k2 demo` too, whose sensors
    then do that last part.

    Example: k2 backfill --from 2026-03-01 --to 2026-03-31 --asset gold.ohlcv_1m
    """
    from k2_cli.backfilling import backfill_home, day_range
    from k2_cli.show_backfill import shown_days, write_days

    days = day_range(_day(start), _day(end))
    with shown_days(len(days)) as shown:
        results = backfill_home(home, days, asset or [], resume=resume, shown=shown)
    write_days(results)
    if any(result.failure for result in results):
        raise typer.Exit(1)


def _day(at: datetime) -> date:
    return at.date()
