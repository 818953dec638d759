"""The table of a chaos run, for the eye, in JSON and in a page: kills, and what was lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.chaos.campaign import Tally
from benchmarks.chaos.seams import Place
from benchmarks.chaos.worker import Work


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


def page(found: Mapping[str, Any]) -> str:
    """The same table, from the JSON, as it stands in the documentation."""
    stages: Mapping[str, Any] = found["stages"]
    kills = {
        n: {(k["during"], k["place"]): k["kills"] for k in s["kills"]} for n, s in stages.items()
    }
    rows = [
        [work, place, *(kills[n].get((work, place), 0) for n in stages)]
        for work in Work
        for place in Place
        if any((work, place) in k for k in kills.values())
    ]
    names = next(iter(stages.values())).keys() - {"kills", "seconds"}
    figures = [
        ["", name.replace("_", " "), *(s[name] for s in stages.values())]
        for name in next(iter(stages.values()))
        if name in names
    ]
    lines = [f"| {' | '.join(['killed during', 'where', *stages, 'all'])} |"]
    lines += ["| --- | --- |" + " ---: |" * (len(stages) + 1)]
    for work, where, *counts in rows + figures:
        told = " | ".join(f"{n:,}" for n in (*counts, sum(counts)))
        lines.append(f"| {work} | {where} | {told} |")
    return "\n".join(lines)


def document(path: Path, found: Mapping[str, Any]) -> None:
    """Write the table into a page, between its two markers."""
    begin, end = "<!-- kills -->", "<!-- end of kills -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    machine = found["machine"]
    told = f"Measured {found['measured_at'][:10]}, {machine['cores']} cores, Python "
    told += f"{machine['python']}; {found['kills']} kills, seed {found['settings']['seed']}."
    body = f"{begin}\n\n{told}\n\n{page(found)}\n\n{end}"
    path.write_text(f"{before}{body}{after}", encoding="utf-8")


def _figures(tally: Tally) -> dict[str, int]:
    return {
        "times killed": tally.kills.total(),
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
