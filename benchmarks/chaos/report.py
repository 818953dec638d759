"""The table of a chaos run and its JSON: kills by place, and what was not right afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from benchmarks.chaos.campaign import Tally
from benchmarks.chaos.worker import Place, Work


def result(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """By stage, kills by work and place and the figures of the table."""
    return {
        "kills": sum(t.kills.total() for t in tallies.values()),
        "stages": {
            name: {
                "kills": [
                    {"during": work.value, "place": place.value, "kills": tally.kills[work, place]}
                    for work in Work
                    for place in Place
                    if tally.kills[work, place]
                ],
                **{figure.replace(" ", "_"): n for figure, n in _figures(tally).items()},
                "seconds": round(tally.seconds),
            }
            for name, tally in tallies.items()
        },
    }


def table(tallies: Mapping[str, Tally]) -> Table:
    """One row for each place of each work, one column for each stage."""
    found = Table("killed during", "where", *tallies, "all")
    for work in Work:
        for place in Place:
            kills = [tally.kills[work, place] for tally in tallies.values()]
            if any(kills):
                found.add_row(work, place, *map(str, kills), str(sum(kills)))
    found.add_section()
    figures = [_figures(tally) for tally in tallies.values()]
    for name in figures[0]:
        counts = [f[name] for f in figures]
        found.add_row("", name, *(f"{n:,}" for n in counts), f"{sum(counts):,}")
    return found


def _figures(tally: Tally) -> dict[str, int]:
    return {
        "kills": tally.kills.total(),
        "frames produced": tally.frames,
        "restarts compared": tally.restarts,
        "rows lost": tally.found.lost,
        "rows doubled": tally.found.doubled,
        "rows wrong": tally.found.wrong,
        "rows not right for a reader before the restart": tally.after_kill.total,
        "checks passed": tally.checks_passed,
        "checks failed": tally.checks_failed,
        "other failures": len(tally.failures),
    }
