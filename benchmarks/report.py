"""The figures as a table for the eye and as JSON to keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.machine import facts

MARK = "figures"  # of the place in the page that a table goes to
_VERDICTS = {None: "", True: "reached", False: "MISSED"}


def table(figures: Sequence[Figure]) -> Table:
    """Median, extremes and what was to be reached, a line for each figure."""
    shown = Table("figure", "unit", title="medians of one run")
    for heading in ("median", "lowest", "highest", "to reach"):
        shown.add_column(heading, justify="right")
    shown.add_column("")
    for f in figures:
        numbers = [text(n) for n in (f.value, min(f.runs), max(f.runs))]
        shown.add_row(f.name, f.unit, *numbers, _to_reach(f), _VERDICTS[f.reached])
    return shown


def write(
    path: Path,
    figures: Sequence[Figure],
    settings: Mapping[str, object],
    more: Mapping[str, object] | None = None,
) -> None:
    """The same with the settings, the machine and the time; ``more`` goes beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": facts(),
        "settings": dict(settings),
        "figures": [
            {
                "name": f.name,
                "unit": f.unit,
                "median": rounded(f.value),
                "runs": [rounded(r) for r in f.runs],
                "at_least": f.at_least,
                "at_most": f.at_most,
                "reached": f.reached,
            }
            for f in figures
        ],
        **(more or {}),
    }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def document(page: Path, figures: Sequence[Figure], mark: str = MARK, above: str = "") -> None:
    """Write the same table into a page of the documentation, between its two markers.

    ``above`` goes before it: a line with a picture.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    machine = facts()
    when, where = f"{datetime.now(UTC):%Y-%m-%d}", f"{machine['cores']} cores"
    told = (
        f"Measured {when}, {where} ({machine['processor']}), Python {machine['python']}; "
        f"medians of {max(len(f.runs) for f in figures)} rounds."
    )
    lines = ["| figure | unit | median | lowest | highest | to reach | |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | --- |"]
    for f in figures:
        numbers = " | ".join(text(n) for n in (f.value, min(f.runs), max(f.runs)))
        verdict = _VERDICTS[f.reached]
        lines.append(f"| {f.name} | {f.unit} | {numbers} | {_to_reach(f)} | {verdict} |")
    body = "\n".join(lines)
    shown = f"{above}\n\n" if above else ""
    page.write_text(f"{before}{begin}\n\n{shown}{told}\n\n{body}\n\n{end}{after}", encoding="utf-8")


def _to_reach(figure: Figure) -> str:
    if figure.at_least is not None:
        return f">= {text(figure.at_least)}"
    return "" if figure.at_most is None else f"<= {text(figure.at_most)}"


def rounded(value: float) -> float:
    """The number as it is kept."""
    return round(value) if value >= 1000 else round(value, 3)


def text(value: float) -> str:
    """The number as people read it, rounded as it is kept: 1,234 or 1.23."""
    kept = rounded(value)
    return f"{kept:,.0f}" if kept >= 1000 else f"{kept:.2f}"
