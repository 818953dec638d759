"""How the state of the lake is written: for reading, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from k2_lake.maintenance.status import TableStatus
from k2_lake.maintenance.waiting import Waiting
from k2_market.maintenance import Deed

WIDTH = 140
NOTHING_YET = "no table was ever written here. To see some filled: `k2 demo --once`"
_DAYS_SHOWN = 3


def write_status(states: Sequence[TableStatus], *, as_json: bool) -> None:
    """One line a table."""
    if as_json:
        write_json([asdict(state) for state in states])
        return
    if not states:
        wide_console().print(NOTHING_YET)
        return
    table = figures_table(
        "table", "rows", "files", "to merge", "size", "snapshots", "metadata", "oldest snapshot"
    )
    table.add_column("waiting")
    for s in states:
        table.add_row(
            s.name,
            f"{s.rows:,}",
            f"{s.files:,}",
            f"{s.small_files:,}",
            size_text(s.bytes),
            f"{s.snapshots:,}",
            size_text(s.metadata_bytes),
            f"{s.oldest_at:%Y-%m-%d %H:%M:%S}",
            "; ".join(map(_waiting_text, s.waiting)),
        )
    wide_console().print(table)


def write_deeds(deeds: Sequence[Deed], nothing: str) -> None:
    """What was done, or of a dry run would be: a line a table, or a day of it."""
    if not deeds:
        wide_console().print(nothing)
        return
    shown = figures_table("table", "day", "rows", "files", "size", "snapshots", "freed", "took")
    for d in deeds:
        before, after = d.before, d.after
        shown.add_row(
            d.table_name,
            "" if d.day is None else d.day.isoformat(),
            f"{after.rows:,}",
            _became(f"{before.files:,}", f"{after.files:,}"),
            _became(size_text(before.bytes), size_text(after.bytes)),
            _became(f"{before.snapshots:,}", f"{after.snapshots:,}"),
            size_text(d.bytes_freed) if d.bytes_freed else "",
            f"{d.took_ms / 1000:.1f} s",
        )
    wide_console().print(shown)
    if any(d.dry_run for d in deeds):
        wide_console().print("dry run: nothing was changed")


def _became(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def write_json(value: Any) -> None:
    """JSON on standard output, indented; times are ISO 8601."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def figures_table(first: str, *figures: str) -> Table:
    """A table whose first column is a name and whose others are figures."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(first, no_wrap=True)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def wide_console() -> Console:
    """Standard output; a line that a narrow terminal wraps is better than one that is cut."""
    console = Console(highlight=False)
    return Console(width=max(console.width, WIDTH), highlight=False)


def size_text(size: int) -> str:
    """Bytes as people read them: 3.4 MB."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _waiting_text(waiting: Waiting) -> str:
    if waiting.lost:
        return f"{waiting.consumer}: snapshots it needed are gone"
    days = ", ".join(d.isoformat() for d in waiting.days[:_DAYS_SHOWN])
    more = len(waiting.days) - _DAYS_SHOWN
    rest = f" and {more} more days" if more > 0 else ""
    return f"{waiting.consumer}: {waiting.commits} commits of {days}{rest}"
