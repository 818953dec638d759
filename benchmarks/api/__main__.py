"""``python -m benchmarks.api``: measure the API under load, print a table and keep it as JSON."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import report
from benchmarks.api import breaking, export, fresh, point, roapi
from benchmarks.api.lake import GrowingLake
from benchmarks.api.run import QUICK, Run, Sizes, running
from benchmarks.api.server import serving
from benchmarks.figures import Figure

RESULTS = Path(__file__).parents[1] / "results" / "api.json"
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
MARK = "api figures"
WIDTH = 110  # of the table where there is no terminal
FULL = 50_000_000


class Name(StrEnum):
    """What can be measured alone."""

    LOAD = "load"
    CANDLES = "candles"
    ROAPI = "roapi"
    TRADES = "trades"
    POINT = "point"
    EXPORT = "export"
    FRESH = "fresh"
    BREAKING = "breaking"


def measure(names: list[Name], run: Run, folder: Path) -> list[Figure]:
    """The figures of the named benchmarks; ``folder`` takes their lakes."""
    figures: list[Figure] = []
    if Name.LOAD in names:
        figures += point.own_ceiling(run)
    if {*names} - {Name.LOAD, Name.FRESH}:
        figures += _of_the_lake(names, run, GrowingLake(folder / "lake", run.sizes.a_day))
    if Name.FRESH in names:
        figures += fresh.measure(run, folder)
    return figures


def _of_the_lake(names: list[Name], run: Run, lake: GrowingLake) -> list[Figure]:
    lake.grow(run.sizes.a_day, run.tell)
    points: dict[int, list[float]] = {}
    figures: list[Figure] = []
    with serving(lake.home) as server:
        key = server.key("load")
        for trades in (run.sizes.a_day, run.sizes.trades, run.sizes.full):
            lake.grow(trades, run.tell)
            if Name.POINT in names and trades:
                points[trades] = point.point(run, server, key, lake)
            if trades == run.sizes.trades:
                for name, part in _PARTS.items():
                    figures += part(run, server, key, lake) if name in names else []
    figures += point.flatness(points) if points else []
    return figures + (breaking.measure(run, lake) if Name.BREAKING in names else [])


_PARTS: dict[Name, Callable[..., list[Figure]]] = {
    Name.CANDLES: point.candles,
    Name.ROAPI: roapi.measure,
    Name.TRADES: point.trades,
    Name.EXPORT: export.measure,
}


def main(
    only: Annotated[list[Name] | None, typer.Option(help="Measure this alone.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help=f"Point queries in {FULL:,} trades as well.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: tries, does not tell.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = RESULTS,
) -> None:
    """Measure the API on this machine, the load coming from a process of its own.

    About six minutes on two cores, with --full five more; other work on the machine makes every
    figure worse.
    """
    sizes = QUICK if quick else replace(Sizes(), full=FULL if full else 0)
    console = Console(width=WIDTH) if not sys.stdout.isatty() else Console()
    names = only or list(Name)
    with (
        tempfile.TemporaryDirectory(prefix="k2-bench-") as folder,
        console.status("") as status,
        running(sizes, lambda text: status.update(f"{text} ...")) as run,
    ):
        figures = measure(names, run, Path(folder))
    console.print(report.table(figures))
    report.write(output, figures, {"only": [str(n) for n in names], **asdict(sizes)})
    if output == RESULTS and names == list(Name) and not quick:
        report.document(PAGE, figures, MARK)
    console.print(f"kept in {os.path.relpath(output)}")


if __name__ == "__main__":
    typer.run(main)
