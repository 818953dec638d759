"""What a pass through the chain shows: progress on standard error, a summary on standard output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from k2_market.kinds import Kind

if TYPE_CHECKING:
    from k2_cli.chain import Done

STANDARD_OUTPUT = Console()
STANDARD_ERROR = Console(stderr=True)

Work = Callable[["Shown"], "tuple[Done, Mapping[str, int]]"]


class Shown:
    """One line of progress."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def update(self, what: str) -> None:
        """Say what is being done."""
        self._progress.update(self._task, description=what)

    def advance(self, size: int) -> None:
        """Move the bar by a part of the total."""
        self._progress.advance(self._task, size)


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    """A summary on standard output."""
    STANDARD_OUTPUT.print(_table(title, rows))


def plain(value: Decimal) -> str:
    """All digits of a number, without the zeros that a column adds: 0.01, 100."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@contextmanager
def shown_progress() -> Iterator[Shown]:
    """A line of progress on standard error, with no bar."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=STANDARD_ERROR, transient=True) as progress:
        yield Shown(progress, progress.add_task("starting", total=None))


def run_shown(title: str, kind: Kind, work: Work, total: int | None = None) -> None:
    """Do the work and print its summary; ``total``: what the bar counts to, None for no bar.

    Raises typer.Exit with 1 when a blocking check failed.
    """
    from k2_cli.chain import summary

    started = time.monotonic()
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    columns += [] if total is None else [BarColumn()]
    with Progress(
        *columns, TimeElapsedColumn(), console=STANDARD_ERROR, transient=True
    ) as progress:
        done, read = work(Shown(progress, progress.add_task("starting", total=total)))
    lines = summary(done, kind, read, time.monotonic() - started)
    STANDARD_OUTPUT.print(_table(title, lines))
    if done.checks_failed:
        raise typer.Exit(1)


def _table(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(show_header=False, title=title)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    return table
