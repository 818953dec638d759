"""How a backfill shows itself: a bar of days, and a line for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from k2_cli.backfill_runs import DayResult
from k2_cli.show import STANDARD_ERROR, STANDARD_OUTPUT

# Title and the figure that a run tells; a column stands only where some day has the figure.
_COLUMNS = {
    "verified": "bronze verified",
    "fetched": "bronze fetched",
    "beyond Kafka": "bronze beyond_kafka",
    "frames": "silver frames",
    "trades": "silver trades",
    "quotes": "silver quotes",
    "rejected": "silver rejected",
    "gold rows": "gold rows",
    "candles": "candles rows",
    "changed": "candles changed",
    "checks": "checks passed",
    "failed checks": "checks failed",
}


@contextmanager
def shown_days(total: int) -> Iterator[Callable[[str, int], None]]:
    """A function that says on standard error what is being done, and how many days are done."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=STANDARD_ERROR, transient=True) as progress:
        task = progress.add_task("starting", total=total)

        def update(what: str, done: int) -> None:
            progress.update(task, description=what, completed=total if done < 0 else done)

        yield update


def write_days(results: Sequence[DayResult]) -> None:
    """A line for each day on standard output, and the reasons of those that failed."""
    if not results:
        STANDARD_OUTPUT.print("Nothing to do: every day of the range is done.")
        return
    names = {n: f for n, f in _COLUMNS.items() if any(f in r.figures for r in results)}
    table = Table(title="Backfill")
    table.add_column("day", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("result", no_wrap=True)
    for result in results:
        figures = [f"{result.figures[f]:,}" if f in result.figures else "" for f in names.values()]
        outcome = "failed" if result.failure else "followed" if result.followed else "done"
        table.add_row(f"{result.day}", *figures, f"{result.seconds:.1f}", outcome)
    if not STANDARD_OUTPUT.is_terminal:
        STANDARD_OUTPUT.width = max(
            STANDARD_OUTPUT.width, Console(width=1_000).measure(table).maximum
        )
    STANDARD_OUTPUT.print(table)
    for result in results:
        if result.failure:
            reason = Text(f"{result.day} failed: {result.failure}")
            STANDARD_ERROR.print(reason, soft_wrap=True)
    failed = sorted({str(r.day) for r in results if r.failure})
    if failed:
        STANDARD_ERROR.print(
            Text(f"{len(failed)} of {len(results)} days failed; --resume does only those.")
        )
