"""``python -m benchmarks.scale``: a day of growing size, on DuckDB and on Spark."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import report
from benchmarks.figures import Figure, Progress
from benchmarks.scale import page
from benchmarks.scale.days import Day, Limits, measured
from benchmarks.scale.page import PAGE, Basis
from k2_lake.spark.settings import SparkSettings
from k2_market.errors import EngineUnavailable

RESULTS = Path(__file__).parents[1] / "results" / "scale.json"
MARK = "scale figures"
FULL = 100_000_000
GOLD, IN_MEMORY = 10_000_000, 10_000_000
WIDTH = 110
# Ten times the trades may cost up to this much more for each.
FLAT = 1.5
STEPS = ("gold", "1m", "5m to 1d")
TINY = 10_000
# Heap beside Python's workers and DuckDB; what does not fit is spilled to the benchmark's folder.
DEFAULTS = """
spark.driver.memory 4g
spark.local.dir {folder}
"""


def measure(
    sizes: Sequence[int], limits: Limits, folder: Path, spark: SparkSettings, tell: Progress
) -> list[Day]:
    """The days, each in a lake that is gone afterwards; one that does not count starts Spark."""
    days = []
    for trades in (TINY, *sizes):
        home = folder / f"lake-{trades}"
        days.append(measured(trades, home, spark, limits, tell))
        shutil.rmtree(home)
    return days[1:]


def figures(days: Sequence[Day]) -> list[Figure]:
    """Trades per second and core of every step, and how the cost of one grows with the day."""
    found = [
        Figure(f"{step} on {engine}, {day.trades:,}", "trades/s/core", [day.a_core(engine, step)])
        for day in days
        for engine, step in day.seconds
    ]
    for small, large in pairwise(days):
        for engine, step in large.seconds:
            if step != STEPS[-1] and (engine, step) in small.seconds:
                cost = small.a_core(engine, step) / large.a_core(engine, step)
                name = f"cost of a trade, {step} on {engine}, {large.trades:,} / {small.trades:,}"
                found.append(Figure(name, "ratio", [cost], at_most=FLAT))
    return found


def basis(days: Sequence[Day]) -> Basis:
    """What the arithmetic begins with: candles of the largest day, gold of the largest that has."""
    day = [d for d in days if ("spark", "gold") in d.seconds][-1]
    return Basis(
        trades=day.trades,
        candles_of=days[-1].trades,
        gold=report.rounded(day.a_core("spark", "gold")),
        minutes=report.rounded(days[-1].a_core("spark", "1m")),
        coarser=report.rounded(days[-1].a_core("spark", "5m to 1d")),
        trade_bytes=report.rounded(day.bytes / day.trades),
        rows_a_file=report.rounded(day.trades / day.files),
    )


def main(
    trades: Annotated[int, typer.Option(min=1_000, help="Of the largest day.")] = FULL,
    steps: Annotated[int, typer.Option(min=1, help="Days, each a tenth of the next.")] = 3,
    gold: Annotated[
        int, typer.Option(help="The largest day whose gold Spark computes: the longest step.")
    ] = GOLD,
    in_memory: Annotated[
        int, typer.Option(help="The largest day whose gold DuckDB computes: 1 kB a trade.")
    ] = IN_MEMORY,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = RESULTS,
) -> None:
    """Compute days of growing size anew, on both engines; it needs Spark (`make spark`).

    The figures go to the JSON, and for a run of the full size into docs/scale.md.
    """
    sizes = [trades // 10**n for n in reversed(range(steps))]
    console = Console(width=WIDTH) if not sys.stdout.isatty() else Console()
    with tempfile.TemporaryDirectory(prefix="k2-scale-") as name, console.status("") as status:
        folder = Path(name)
        (folder / "spark-defaults.conf").write_text(DEFAULTS.format(folder=folder / "spill"))
        os.environ["SPARK_CONF_DIR"] = name
        try:
            spark = SparkSettings.from_environment(os.environ)
            days = measure(
                sizes, Limits(gold, in_memory), folder, spark, lambda t: status.update(f"{t} ...")
            )
        except EngineUnavailable as error:
            raise SystemExit(str(error)) from error
    found = figures(days)
    console.print(report.table(found))
    base = basis(days)
    report.write(
        output,
        found,
        {"sizes": sizes, "gold": gold, "in_memory": in_memory},
        {"basis": asdict(base)},
    )
    if output == RESULTS:
        report.document(PAGE, found, MARK)
        page.write(base)
    console.print(f"kept in {os.path.relpath(output)}")


if __name__ == "__main__":
    typer.run(main)
