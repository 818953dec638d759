"""``gold.day_condition``: whether each day of each instrument is whole, and why not.

A day is computed from what the tables hold of it, all of it in one commit; an instrument of which
nothing new was found keeps its row. Which days have changed is told by the commits of the sources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, LessThanOrEqual
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine
from k2_lake.history import (
    SEEN,
    Change,
    Consumed,
    Mode,
    changes_since,
    head_sequence,
    lineage,
    summary_value,
)
from k2_lake.quality.day_expectation import (
    AROUND,
    Configured,
    RecordedDays,
    Row,
    expectation,
    figures_of,
    instrumented,
    neighbours,
    recorded_days,
)
from k2_lake.quality.day_figures import Figures, counted, rows_of_day
from k2_lake.quality.day_outstanding import Outstanding, outstanding
from k2_lake.results import StepResult
from k2_lake.retained import require_held, retained
from k2_lake.scan import day_of_file, of_day, planned
from k2_lake.tables import (
    CONDITION_TABLE,
    GAPS_TABLE,
    REJECTED_TABLE,
    TRADES_TABLE,
    gold_name,
    table_def,
)
from k2_market.conditions import (
    DAY_CONDITION,
    Circumstances,
    Condition,
    DayFigures,
    Instrumented,
    judge,
)
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind

SOURCES = (*map(gold_name, Kind), GAPS_TABLE, REJECTED_TABLE)
# What is known anew each time and yet says nothing new of a day.
_WHEN = ("snapshots", "computed_at")


@dataclass(frozen=True)
class Source:
    """A table that conditions are computed from, what of it is in them and what changed since."""

    table: Table
    done: Consumed

    @cached_property
    def changes(self) -> list[Change]:
        """The commits since. Where some are gone by now, any day it holds may have changed."""
        try:
            return changes_since(self.table, self.done.through)
        except InvariantBroken:
            oldest = lineage(self.table)[-1]
            sequence = oldest.sequence_number or 0
            known = planned(self.table, table_def(self.name).schema)
            days = frozenset(map(day_of_file, known.files))
            whole = Change(sequence, oldest, Mode.RECOMPUTE, days)
            return [whole, *changes_since(self.table, sequence)]

    @property
    def name(self) -> str:
        """``gold.trades``."""
        return ".".join(self.table.name()[-2:])

    def after(self, day: date) -> Consumed:
        """What is in the conditions once ``day`` is computed."""
        return self.done.after(day, self.changes, head_sequence(self.table))


def sources(lake: Lake) -> dict[str, Source]:
    """The sources by name, as far as conditions have followed them."""
    done = seen(lake.table(CONDITION_TABLE))
    return {name: Source(lake.table(name), done.get(name, Consumed())) for name in SOURCES}


def seen(table: Table) -> dict[str, Consumed]:
    """By source, up to where its changes are in the conditions.

    Not as progress that expiry would wait for: where commits are gone, days are looked at whole.
    """
    value = summary_value(table, SEEN)
    return {} if value is None else {k: Consumed.from_json(v) for k, v in json.loads(value).items()}


@retry_conflicts
def assess(
    lake: Lake, engine: Engine, day: date, now: datetime, configured: Configured
) -> StepResult:
    """Compute the condition of every instrument on one day.

    Figures: instruments, and how many are in which condition. What retention has dropped of the
    day is told by what was counted before; raises DayRetired where gold has dropped all of it.
    """
    table = lake.table(CONDITION_TABLE)
    before, read = head_sequence(table), sources(lake)
    held = _kinds_held(read, day)
    around = conditions(engine, table, day - AROUND, day + AROUND)
    old = [row for row in around if row["day"] == day]
    days = recorded_days(around)
    counts_before = {instrumented(row): figures_of(row) for row in old}
    found: Figures = {}
    for kind in held:
        rows_there = rows_of_day(engine, read[gold_name(kind)].table, kind, day)
        expected = _expected(kind, day, days, configured)
        instruments = {**dict.fromkeys(expected, DayFigures()), **rows_there}
        found |= counted(lake, engine, kind, day, instruments, counts_before)
    behind, snapshots = outstanding(lake, day), _snapshots(read)
    rows = [
        {
            **_row(what, day, found[what], days, behind, now.date(), configured),
            "snapshots": snapshots,
            "computed_at": now,
        }
        for what in sorted(found)
    ]
    known = {_key(row): row for row in old}
    rows = [known[_key(r)] if _same(known.get(_key(r)), r) else r for r in rows]
    rows = sorted(rows + [r for r in old if Kind(r["kind"]) not in held], key=_key)
    counts = _counts(rows)
    changed = rows != sorted(old, key=_key)
    pending = any(day in s.done.pending(s.changes) for s in read.values())
    if changed or pending:
        commit(
            table,
            add=[_table(rows)] if changed else (),
            remove=planned(table, DAY_CONDITION.schema, of_day(DAY_CONDITION.day, day)).files
            if changed
            else (),
            mode=Mode.RECOMPUTE,
            days=[day] if changed else [],
            figures=counts,
            extra=retained(table).with_restored(day).to_extra() | _seen_json(read, day),
        )
    return StepResult.of(table, before=before, changed=changed, figures=counts)


def conditions(engine: Engine, table: Table, first: date, last: date) -> list[Row]:
    """The rows of these days, both included, in order of their key."""
    within = And(GreaterThanOrEqual("day", first), LessThanOrEqual("day", last))
    rows = recorded(engine, table, within)
    return [row for row in rows if first <= row["day"] <= last]


def recorded(engine: Engine, table: Table, where: BooleanExpression) -> list[Row]:
    """The rows in the files that may hold what ``where`` says, in order of their key."""
    files = planned(table, DAY_CONDITION.schema, where)
    if not files.files:
        return []
    order = ", ".join(DAY_CONDITION.key)
    rows: list[Row] = engine.query(
        f"select * from conditions order by {order}", {"conditions": files}, DAY_CONDITION.schema
    ).to_pylist()
    return rows


def _kinds_held(read: Mapping[str, Source], day: date) -> list[Kind]:
    """The kinds of which gold still holds the day. Raises DayRetired where there is none."""
    held = [kind for kind in Kind if retained(read[gold_name(kind)].table).holds(day)]
    if not held:
        require_held(read[TRADES_TABLE].table, day, of=CONDITION_TABLE)
    return held


def _expected(
    kind: Kind, day: date, days: RecordedDays, configured: Configured
) -> list[Instrumented]:
    """What should have rows on that day."""
    meant = set(days) | configured.on(day)
    return [
        what for what in meant if what.kind is kind and expectation(what, day, days, configured)
    ]


def _row(
    what: Instrumented,
    day: date,
    figures: DayFigures,
    days: RecordedDays,
    behind: Outstanding,
    today: date,
    configured: Configured,
) -> Row:
    before, after = neighbours(what, day, days)
    circumstances = Circumstances(
        over=day < today,
        outstanding=behind.get((what.exchange, what.kind), ()),
        expected=expectation(what, day, days, configured),
        before=before is not None,
        after=after is not None,
    )
    condition, reasons = judge(what, day, figures, circumstances)
    return {
        "exchange": what.exchange,
        "symbol": what.symbol,
        "kind": what.kind.value,
        "day": day,
        "condition": condition.value,
        "reasons": reasons,
        **asdict(figures),
    }


def _snapshots(read: Mapping[str, Source]) -> list[tuple[str, str]]:
    heads = {name: source.table.current_snapshot() for name, source in read.items()}
    return [(name, str(head.snapshot_id)) for name, head in heads.items() if head is not None]


def _seen_json(read: Mapping[str, Source], day: date) -> dict[str, str]:
    return {SEEN: json.dumps({name: s.after(day).to_json() for name, s in read.items()})}


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in DAY_CONDITION.key)


def _same(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    return old is not None and all(old[c] == new[c] for c in new if c not in _WHEN)


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    counts = {"instruments": len(rows), **{str(c): 0 for c in Condition}}
    for row in rows:
        counts[row["condition"]] += 1
    return counts


def _table(rows: Sequence[Row]) -> pa.Table:
    ordered = sorted(rows, key=lambda row: [row[c] for c in ("exchange", *DAY_CONDITION.order)])
    return pa.Table.from_pylist(ordered, schema=DAY_CONDITION.schema)
