"""``python -m benchmarks.year``: a year of 30-second ticks, compressed in time.

A year has 1,051,200 ticks. What could grow with it are days, files and snapshots: so the simulated
year has all its 365 days, but two ticks in each; and three times, half a year apart, an hour at
the full rate, 120 ticks, is lived through, so that one sees what such an hour costs on the first
day and on the last. Compaction and retention run once a day, expiry once in 120 ticks, which is
half as often as its schedule does. Times are those of the processor, for the run takes long enough
that other work on the machine comes and goes.

Beside it stands a shorter stretch of the same days without any maintenance, with three such hours
of its own: 458 commits, which at the full rate come in four hours.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import plot, report
from benchmarks.figures import Figure, Progress
from benchmarks.year_lake import Measured, YearLake

RESULTS = Path(__file__).parent / "results" / "year.json"
DOCS = Path(__file__).parent.parent / "docs"
PAGE, PLOT = DOCS / "retention.md", DOCS / "images" / "year.svg"
MARK = "the year"
PICTURE = "![What ticks, planning and metadata cost over the year](images/year.svg)"
FIRST = date(2025, 1, 1)
ONE_DAY = timedelta(days=1)
FLAT = 1.5
WIDTH = 110


@dataclass(frozen=True)
class Plan:
    """How long, how dense and how much is kept.

    ``days`` and those ``unkept``, which are lived through without maintenance; ``ticks`` a day;
    ``hour_ticks`` in each of the hours at full rate, one every ``hours_apart`` days; ``keep``
    snapshots; a measurement every ``sample`` days.
    """

    days: int = 365
    unkept: int = 49
    ticks: int = 2
    hour_ticks: int = 120
    hours_apart: int = 182
    keep: int = 100
    sample: int = 7


@dataclass(frozen=True)
class Point:
    """The lake at the end of a day, counted from 0; ``hour``: after an hour at full rate."""

    day: int
    hour: bool
    measured: Measured


def live(plan: Plan, home: Path, days: int, tell: Progress, *, maintained: bool) -> Iterator[Point]:
    """The points of a lake that lives through so many days."""
    year, since = YearLake(home, FIRST), 0
    for day in range(days):
        tell(f"{'with' if maintained else 'without'} maintenance: day {day + 1} of {days}")
        full_hour = day % (plan.hours_apart if maintained else plan.unkept // 2) == 0
        for tick in range(plan.ticks):
            year.tick(tick * ONE_DAY / plan.ticks)
        if full_hour:
            for tick in range(plan.hour_ticks):
                year.tick(timedelta(hours=23, seconds=30 * tick))
            yield Point(day, hour=True, measured=year.measured())
        year.end_day()
        since += plan.ticks + (plan.hour_ticks if full_hour else 0)
        if maintained:
            year.daily_upkeep()
            if since >= plan.hour_ticks:
                year.hourly_upkeep(plan.keep)
                since = 0
        if day % plan.sample == plan.sample - 1:
            yield Point(day, hour=False, measured=year.measured())


def figures(plan: Plan, kept: Sequence[Point], unkept: Sequence[Point]) -> list[Figure]:
    """What the two lives say: the year's end against its first quarter, and against no upkeep."""
    weeks = [p.measured for p in kept if not p.hour]
    hours = [p.measured for p in kept if p.hour]
    early, late = _span(weeks, 0.15, 0.35), _span(weeks, 0.8, 1.0)
    neglected = unkept[-1].measured
    same_age = min((p for p in kept if not p.hour), key=lambda p: abs(p.day - unkept[-1].day))

    def later(name: str) -> list[float]:
        before = median(getattr(m, name) for m in early)
        return [getattr(m, name) / before for m in late]

    def end(name: str) -> list[float]:
        return [getattr(hours[-1], name) / getattr(hours[0], name)]

    def spared(name: str) -> list[float]:
        return [getattr(neglected, name) / getattr(same_age.measured, name)]

    most = [float(max(p.measured.snapshots for p in kept))]
    return [
        Figure("commit, late / early in the year", "ratio", later("commit_ms"), at_most=FLAT),
        Figure("gold tick, late / early", "ratio", later("gold_ms"), at_most=FLAT),
        Figure("1m tick, late / early", "ratio", later("candles_ms"), at_most=FLAT),
        Figure("planning a day, late / early", "ratio", later("plan_day_ms"), at_most=FLAT),
        Figure("planning 30 days, late / early", "ratio", later("plan_month_ms"), at_most=FLAT),
        Figure("metadata size, late / early", "ratio", later("metadata_bytes"), at_most=FLAT),
        Figure("gold tick, last / first full hour", "ratio", end("gold_ms"), at_most=FLAT),
        Figure("snapshots, at most", "", most, at_most=float(_most(plan))),
        Figure(f"gold tick after {plan.unkept} days, neglected / kept", "ratio", spared("gold_ms")),
        Figure("metadata size, neglected / kept", "ratio", spared("metadata_bytes")),
        Figure("planning 30 days, neglected / kept", "ratio", spared("plan_month_ms")),
    ]


def _most(plan: Plan) -> int:
    """What is kept, what an hour brings, and what came on the days before it was due."""
    return plan.keep + 2 * plan.hour_ticks + 2 * (plan.ticks + 1) * plan.sample


def _span(weeks: Sequence[Measured], start: float, end: float) -> list[Measured]:
    found = list(weeks[int(len(weeks) * start) : int(len(weeks) * end)])
    return found or list(weeks[-1:])


def drawn(kept: Sequence[Point], unkept: Sequence[Point]) -> str:
    """The plot: six panels, both lives in each."""
    panels = [
        ("commit of a tick to silver, CPU ms", "commit_ms", 1.0),
        ("tick of gold.trades, CPU ms", "gold_ms", 1.0),
        ("planning one day, CPU ms", "plan_day_ms", 1.0),
        ("planning 30 days, CPU ms", "plan_month_ms", 1.0),
        ("metadata file, kB", "metadata_bytes", 0.001),
        ("manifests, kB", "manifest_bytes", 0.001),
    ]
    lives = (
        ("with maintenance", [p for p in kept if not p.hour]),
        ("without", [p for p in unkept if not p.hour]),
    )
    return plot.svg(
        [
            plot.Panel(
                title,
                [
                    plot.Line(name, [(p.day + 1, scale * getattr(p.measured, key)) for p in life])
                    for name, life in lives
                ],
            )
            for title, key, scale in panels
        ],
        x="day of the year",
    )


def main(
    days: Annotated[int, typer.Option(min=20, help="Days to live through.")] = Plan.days,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = RESULTS,
) -> None:
    """Live through a year of ticks, compressed in time; about 15 minutes on two cores.

    The figures go to the JSON, and for the whole year into docs/retention.md with its plot.
    """
    plan = Plan(days=days, unkept=min(Plan.unkept, days))
    console = Console(width=WIDTH) if not sys.stdout.isatty() else Console()
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="k2-year-") as folder, console.status("") as status:

        def tell(text: str) -> None:
            status.update(f"{text} ...")

        unkept = [*live(plan, Path(folder) / "unkept", plan.unkept, tell, maintained=False)]
        kept = [*live(plan, Path(folder) / "kept", plan.days, tell, maintained=True)]
    found = figures(plan, kept, unkept)
    console.print(report.table(found))
    took = round((datetime.now(UTC) - started).total_seconds())
    curves = {"kept": [_flat(p) for p in kept], "unkept": [_flat(p) for p in unkept]}
    report.write(output, found, {**asdict(plan), "took_s": took}, curves)
    if output == RESULTS and days == Plan.days:
        report.document(PAGE, found, MARK, PICTURE)
        PLOT.write_text(drawn(kept, unkept), encoding="utf-8")


def _flat(point: Point) -> dict[str, object]:
    numbers = {k: report.rounded(float(v)) for k, v in asdict(point.measured).items()}
    return {"day": point.day, "hour": point.hour, **numbers}


if __name__ == "__main__":
    typer.run(main)
