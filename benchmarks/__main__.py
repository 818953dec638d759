"""``python -m benchmarks``: measure the chain here, print a table and keep it as JSON."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import one_minute, report, stages, tick
from benchmarks.figures import Figure, Progress
from benchmarks.market import Market

RESULTS = Path(__file__).parent / "results" / "chain.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
DAY = date(2024, 8, 8)
WIDTH = 110  # of the table where there is no terminal


class Name(StrEnum):
    """What can be measured alone."""

    STAGES = "stages"
    TICK = "tick"
    ONE_MINUTE = "one-minute"


@dataclass(frozen=True)
class Sizes:
    """How much is measured. ``frames`` must fit into the embedded broker, compressed."""

    frames: int = 400_000
    rounds: int = 5
    full_day: int = 5_000_000
    new_trades: int = 10_000
    day_of_candles: int = 10_000_000


QUICK = Sizes(20_000, 2, 100_000, 1_000, 200_000)


def measure(names: list[Name], sizes: Sizes, folder: Path, tell: Progress) -> list[Figure]:
    """The figures of the named benchmarks; ``folder`` takes their lakes."""
    figures: list[Figure] = []
    if Name.STAGES in names:
        figures += stages.measure(
            Market(DAY), folder, frames=sizes.frames, rounds=sizes.rounds, tell=tell
        )
    if Name.TICK in names:
        figures += tick.measure(
            Market(DAY),
            folder,
            trades=sizes.full_day,
            new=sizes.new_trades,
            rounds=sizes.rounds,
            tell=tell,
        )
    if Name.ONE_MINUTE in names:
        # Twice the trades of the other days have half the time each.
        market = Market(DAY, step_us=Market(DAY).step_us // 2)
        figures += one_minute.measure(
            market, folder, trades=sizes.day_of_candles, rounds=sizes.rounds, tell=tell
        )
    return figures


def main(
    frames: Annotated[int, typer.Option(help="Frames of the topic.", min=1_000)] = Sizes.frames,
    rounds: Annotated[int, typer.Option(help="How often each is measured.", min=1)] = Sizes.rounds,
    only: Annotated[list[Name] | None, typer.Option(help="Measure this alone.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: tries, does not tell.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = RESULTS,
) -> None:
    """Measure the chain on this machine, from frames in Kafka to candles.

    Some minutes on two cores; other work on the machine makes every figure worse.
    """
    sizes = QUICK if quick else replace(Sizes(), frames=frames, rounds=rounds)
    console = Console(width=WIDTH) if not sys.stdout.isatty() else Console()
    names = only or list(Name)
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder, console.status("") as status:
        figures = measure(names, sizes, Path(folder), lambda text: status.update(f"{text} ..."))
    console.print(report.table(figures))
    report.write(output, figures, {"only": [str(n) for n in names], **asdict(sizes)})
    if output == RESULTS and names == list(Name) and not quick:
        report.document(PAGE, figures)
    console.print(f"kept in {os.path.relpath(output)}")


if __name__ == "__main__":
    typer.run(main)
