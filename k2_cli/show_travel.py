"""How the history of a table is written: for reading, or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from k2_cli.show_lake import figures_table, wide_console, write_json
from k2_cli.show_letters import printable
from k2_lake.tables import table_def
from k2_lake.travel.as_of import committed_at
from k2_lake.travel.diff import DayDiff, Difference
from k2_lake.travel.rollback import Rollback
from k2_lake.travel.snapshots import Kept
from k2_lake.travel.tags import Chosen

SHOWN_ROWS = 50
_SIGN = {"added": "+", "removed": "-", "changed": "~"}
_DAYS_SHOWN = 2


def write_snapshots(found: Sequence[Kept], limit: int, *, as_json: bool) -> None:
    """One line a snapshot."""
    if as_json:
        write_json([{**asdict(k), "snapshot_id": str(k.snapshot_id)} for k in found[:limit]])
        return
    offsets = any(k.offsets for k in found)
    table = figures_table("snapshot", "sequence", "committed (UTC)", "mode", "days")
    for name in ("added", "removed", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("tags")
    if offsets:
        table.add_column("offsets", no_wrap=True)
    for k in found[:limit]:
        cells = (
            str(k.snapshot_id),
            f"{k.sequence}",
            moment_text(k.committed_at),
            k.mode,
            days_text(k.days),
            f"{k.added:,}",
            f"{k.removed:,}",
            f"{k.rows:,}",
            ", ".join(k.tags) + ("" if k.in_lineage else " (older ones expired)"),
        )
        table.add_row(*cells, *([_offsets_text(k.offsets)] if offsets else []))
    console = wide_console()
    console.print(table)
    if len(found) > limit:
        console.print(f"{limit} of {len(found)}; --limit {len(found)} shows all")


def write_tagged(name: str, chosen: Sequence[Chosen], *, as_json: bool) -> None:
    """One line a table, and what holds."""
    if as_json:
        write_json([_chosen_json(c) for c in chosen])
        return
    table = figures_table(f"tag {name}", "snapshot", "committed (UTC)", "behind")
    for c in chosen:
        at = moment_text(committed_at(c.snapshot))
        table.add_row(c.table, str(c.snapshot.snapshot_id), at, f"{c.behind:,}")
    console = wide_console()
    console.print(table)
    for c in chosen:
        if c.outstanding:
            console.print(
                f"{c.table} has rows of {days_text(c.outstanding)} that the tables made from it "
                "had not taken up yet."
            )
    console.print(f'k2 sql --as-of {name} "select ..." reads them, whatever happens to the tables.')


def write_untagged(name: str, tables: Sequence[str], *, as_json: bool) -> None:
    """Which tables no longer bear the name."""
    if as_json:
        write_json({"tag": name, "removed_from": tables})
    else:
        wide_console().print(f"tag {name} was taken off {', '.join(tables)}.")


def write_diff(
    name: str, days: Sequence[DayDiff], rows: Iterable[Difference] | None, *, as_json: bool
) -> None:
    """The figures by day, their sums, and the rows where they were asked for."""
    if as_json:
        listed = (
            {} if rows is None else {"rows": [asdict(r) | {"columns": r.columns} for r in rows]}
        )
        write_json({"table": name, "days": [asdict(d) for d in days], **listed})
        return
    console = wide_console()
    if not days:
        console.print(f"{name}: no row differs.")
        return
    console.print(_days_table(days, "added", "removed", "changed"))
    sums = [sum(getattr(d, what) for d in days) for what in _SIGN]
    shown = 0
    for row in rows or ():
        shown += 1
        console.print(Text(_row_text(name, row)), soft_wrap=True)
    if rows is not None and shown < sum(sums):
        console.print(f"{shown} of {sum(sums):,} rows; --format json gives all")


def write_rollback(plan: Rollback, *, dry_run: bool, as_json: bool) -> None:
    """What comes back and goes, and what follows from it."""
    if as_json:
        write_json(_rollback_json(plan, dry_run=dry_run))
        return
    console = wide_console()
    there = f"snapshot {plan.to.snapshot_id} of {moment_text(committed_at(plan.to))} UTC"
    if not plan.changes:
        console.print(f"{plan.table} stands at {there} already: nothing to do.")
        return
    would = "would go" if dry_run else "went"
    console.print(f"{plan.table} {would} back to {there}.")
    if plan.days:
        console.print(_days_table(plan.days, "come back", "go", "change"))
    for sentence in _consequences(plan):
        console.print(sentence, soft_wrap=True)
    if dry_run:
        console.print("Nothing was changed: this was a dry run.")


def _consequences(plan: Rollback) -> Iterator[str]:
    reread = plan.reread
    if reread is not None and reread.frames:
        spans = " ".join(f"{p}:{reread.start.get(p, 0)}-{end}" for p, end in reread.end.items())
        yield (
            f"The next tick reads {reread.frames:,} frames of {reread.topic} from Kafka again, "
            f"which still holds them (partition:offsets {spans})."
        )
    for source, commits in plan.awaits.items():
        yield f"The next tick takes up {commits:,} commits of {source} again."
    if plan.followed_by and plan.days:
        yield f"These days are computed anew at the next tick of {', '.join(plan.followed_by)}."


def _rollback_json(plan: Rollback, *, dry_run: bool) -> dict[str, Any]:
    return {
        "table": plan.table,
        "dry_run": dry_run,
        "from_snapshot": str(plan.head.snapshot_id),
        "to_snapshot": str(plan.to.snapshot_id),
        "days": [asdict(d) for d in plan.days],
        "awaits": plan.awaits,
        "followed_by": plan.followed_by,
        "read_again": None if plan.reread is None else asdict(plan.reread),
        "frames": 0 if plan.reread is None else plan.reread.frames,
    }


def _days_table(days: Sequence[DayDiff], *names: str) -> Table:
    table = figures_table("day", *names)
    for d in days:
        table.add_row(_day(d.day), f"{d.added:,}", f"{d.removed:,}", f"{d.changed:,}")
    if len(days) > 1:
        table.add_row("all", *(f"{sum(getattr(d, what) for d in days):,}" for what in _SIGN))
    return table


def moment_text(at: datetime) -> str:
    """UTC with milliseconds, as snapshots have them."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def days_text(days: Sequence[date]) -> str:
    """The days, or the first and the last of many with their number."""
    if len(days) <= _DAYS_SHOWN:
        return ", ".join(d.isoformat() for d in days)
    return f"{len(days)} days {min(days)} to {max(days)}"


def _row_text(name: str, row: Difference) -> str:
    record = table_def(name).record
    values: Mapping[str, Any] = row.after or row.before or {}
    key = " ".join(value_text(values[k]) for k in record.key)
    if row.before is not None and row.after is not None:
        told = [
            f"{c}: {value_text(row.before[c])} -> {value_text(row.after[c])}" for c in row.columns
        ]
    else:
        told = [f"{c}={value_text(v)}" for c, v in values.items() if c not in record.key]
    return f"{_SIGN[row.what]} {key}  {', '.join(told)}"


def value_text(value: object) -> str:
    """A value on one line, with nothing in it that a terminal would take for an order."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return printable(str(value))


def _chosen_json(c: Chosen) -> dict[str, Any]:
    return {
        "table": c.table,
        "snapshot_id": str(c.snapshot.snapshot_id),
        "committed_at": committed_at(c.snapshot),
        "behind": c.behind,
        "outstanding": c.outstanding,
    }


def _offsets_text(offsets: Mapping[str, tuple[int, int]]) -> str:
    return " ".join(f"{p}:{first}-{end}" for p, (first, end) in offsets.items() if end > first)


def _day(day: date | None) -> str:
    return "" if day is None else day.isoformat()
