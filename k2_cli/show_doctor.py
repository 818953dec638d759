"""How findings are shown: part by part, what is wrong with its figures, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from k2_cli.show import STANDARD_ERROR
from k2_cli.show_lake import wide_console, write_json
from k2_market.findings import Finding, State

_COLORS = {State.OK: "green", State.WARNING: "yellow", State.WRONG: "red"}


def shown_while(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings, with what is looked at now on standard error."""
    with STANDARD_ERROR.status("looking at the catalog") as status:
        for finding in findings:
            status.update(f"looked at {finding.part}")
            yield finding


def write_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """All findings as JSON, or as a table in which sound tables share a line."""
    if as_json:
        write_json([asdict(f) for f in findings])
        return
    console = wide_console()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    for column in ("part", "what", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("told", overflow="fold")
    before = ""
    for f in _condensed(findings):
        state = f"[{_COLORS[f.state]}]{f.state}[/]"
        table.add_row("" if f.part == before else f.part, f.what, state, escape(f.told))
        if f.mend:
            table.add_row("", "", "", f"[bold]→ {escape(f.mend)}[/]")
        before = f.part
    console.print(table)
    _print_verdict(console, findings)


def _condensed(findings: Sequence[Finding]) -> list[Finding]:
    """Sound tables and topics in a line each: there are dozens of them."""
    tables = [f for f in findings if f.what == "table" and f.state is State.OK]
    topics = [f for f in findings if f.what.startswith("market.") and f.state is State.OK]
    rest = [f for f in findings if f not in tables and f not in topics]
    if tables:
        told = f"{len(tables)} are sound"
        place = next((i for i, f in enumerate(rest) if f.part not in ("catalog", "clock")), 0) + 1
        rest.insert(place, Finding("tables", "files", State.OK, told))
    if topics:
        place = next(i for i, f in enumerate(rest) if f.part == "kafka") + 1
        rest.insert(place, Finding("kafka", "offsets", State.OK, f"{len(topics)} topics go on"))
    return rest


def _print_verdict(console: Console, findings: Sequence[Finding]) -> None:
    wrong = sum(f.state is State.WRONG for f in findings)
    warnings = sum(f.state is State.WARNING for f in findings)
    if not wrong and not warnings:
        console.print("all is well")
    else:
        console.print(f"{wrong} wrong, {warnings} {'warning' if warnings == 1 else 'warnings'}")
