"""Gaps: which trade ids are missing in gold trades, and what became of those that were.

A tick looks at the ids around the trades that are new; a recompute looks at all of a day's. What is
open afterwards is the same either way, and what is on record stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import reduce

import pyarrow as pa
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    In,
    LessThanOrEqual,
    Or,
)
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine
from k2_lake.history import Consumed, Mode, consumed, head_sequence
from k2_lake.lost import follow
from k2_lake.quality.gap_causes import with_causes
from k2_lake.quality.gap_ledger import Gap, Hole, State, settle
from k2_lake.quality.gap_search import Extent, extents_of, holes_around
from k2_lake.replaced import drop_broken
from k2_lake.results import StepResult
from k2_lake.retained import Retained, require_held, retained
from k2_lake.scan import appended, of_day, planned
from k2_lake.tables import GAPS_TABLE, TRADES_TABLE
from k2_market.records import GAP, TRADE


@retry_conflicts
def find_gaps(lake: Lake, engine: Engine, day: date, *, recompute: bool = False) -> StepResult:
    """Bring ``gold.gaps`` up to date with the trades of one trade day.

    Figures: looked_at (trades), found (gaps that are new), repaired (gaps, or pieces of some). What
    is on record of days that gold has dropped stays; asked to look at one it raises DayRetired. Of
    a day whose file is broken a recompute finds again what is open; what was closed is forgotten.
    """
    table, gold = lake.table(GAPS_TABLE), lake.table(TRADES_TABLE)
    done = consumed(table).get(TRADES_TABLE, Consumed())
    since = follow(gold, done, of=GAPS_TABLE, day=TRADE.day, recompute=recompute)
    done, changes = since.done, since.changes
    pending = done.pending(changes).get(day, [])
    before = head_sequence(table)
    if not pending and not recompute:
        return StepResult.of(table, before=before, changed=False, figures=_figures(0, [], []))
    if recompute:
        require_held(gold, day, of=GAPS_TABLE)
        drop_broken(engine, table, planned(table, GAP.schema, of_day(GAP.day, day)), day)
    if recompute or any(c.mode is Mode.RECOMPUTE for c in pending):
        files = planned(gold, TRADE.schema, of_day("trade_date", day))
    else:
        files = appended(gold, [c.snapshot for c in pending], TRADE.schema)
    extents = extents_of(engine, files, day)
    old, new, found = _settled(lake, engine, gold, table, extents)
    days = sorted({gap.gap_date for gap in set(old) ^ set(new)})
    figures = _figures(files.rows, found, list(set(new) - set(old)))
    through = done.after(day, changes, head_sequence(gold))
    _replace(engine, table, days, set(old), new, figures, through)
    return StepResult.of(table, before=before, changed=bool(days), figures=figures)


def pending_days(lake: Lake) -> dict[date, str]:
    """The trade days whose trades have changes that gaps have not consumed: ``table@sequence``."""
    done = consumed(lake.table(GAPS_TABLE)).get(TRADES_TABLE, Consumed())
    since = follow(lake.table(TRADES_TABLE), done, of=GAPS_TABLE, day=TRADE.day)
    pending = since.done.pending(since.changes)
    return {day: f"{TRADES_TABLE}@{changes[-1].sequence}" for day, changes in pending.items()}


def recorded_gaps(lake: Lake, engine: Engine, where: BooleanExpression | None = None) -> list[Gap]:
    """The gaps on record in the files that may hold what ``where`` says, in order of their key."""
    return _recorded(engine, lake.table(GAPS_TABLE), where)


@retry_conflicts
def give_up(lake: Lake, engine: Engine, reasons: Mapping[Gap, str]) -> int:
    """Note of gaps why they cannot be repaired; how many of them were still as given."""
    table = lake.table(GAPS_TABLE)
    days = sorted({gap.gap_date for gap in reasons})
    held = _of_days(engine, table, days)
    rows = [gap.given_up(reasons[gap]) if gap in reasons else gap for gap in held]
    changed = sum(gap in reasons for gap in held)
    if changed:
        commit(
            table,
            add=[_table(rows)],
            remove=planned(table, GAP.schema, In(GAP.day, days)).files,
            mode=Mode.RECOMPUTE,
            days=days,
        )
    return changed


def _settled(
    lake: Lake, engine: Engine, gold: Table, table: Table, extents: Sequence[Extent]
) -> tuple[list[Gap], list[Gap], list[Gap]]:
    """Of the symbols' neighbourhoods: what was on record, what is now, and what of it is new."""
    if not extents:
        return [], [], []
    kept = retained(gold)
    held = [g for g in _recorded(engine, table, _touching(extents)) if _within(kept, g)]
    old = {e.key: [g for g in held if e.touches(g)] for e in extents}
    reached = [e.reaching(old[e.key]) for e in extents]
    holes, received_at = holes_around(engine, gold, reached)
    rows: list[Gap] = []
    fresh: list[Hole] = []
    for extent in reached:
        missing = [h for h in holes if extent.touches(h) and _within(kept, h)]
        stays, new = settle(old[extent.key], missing, received_at(extent.key))
        rows += stays
        fresh += new
    found = with_causes(lake, engine, fresh)
    return [g for gaps in old.values() for g in gaps], rows + found, found


def _within(kept: Retained, gap: Gap) -> bool:
    """Whether gold holds all days of the gap: where it has dropped some, it cannot be judged."""
    return kept.holds_all(gap.before_at.date(), gap.after_at.date())


def _touching(extents: Sequence[Extent]) -> BooleanExpression:
    """The gaps that new trades may fill or lie beside."""
    each = [
        And(
            And(EqualTo("exchange", e.exchange), EqualTo("symbol", e.symbol)),
            And(
                GreaterThanOrEqual("last_missing_id", e.lo - 1),
                LessThanOrEqual("first_missing_id", e.hi + 1),
            ),
        )
        for e in extents
    ]
    return reduce(Or, each)


def _replace(
    engine: Engine,
    table: Table,
    days: Sequence[date],
    old: set[Gap],
    new: Sequence[Gap],
    figures: Mapping[str, int],
    through: Consumed,
) -> None:
    rest = [gap for gap in _of_days(engine, table, days) if gap not in old]
    rows = rest + [gap for gap in new if gap.gap_date in days]
    commit(
        table,
        add=[_table(rows)] if days else (),
        remove=planned(table, GAP.schema, In(GAP.day, days)).files if days else (),
        mode=Mode.RECOMPUTE,
        days=days,
        sources={TRADES_TABLE: through},
        figures=figures,
    )


def _of_days(engine: Engine, table: Table, days: Sequence[date]) -> list[Gap]:
    return _recorded(engine, table, In(GAP.day, days)) if days else []


def _recorded(engine: Engine, table: Table, where: BooleanExpression | None) -> list[Gap]:
    files = planned(table, GAP.schema, where)
    if not files.files:
        return []
    rows = engine.query(
        "select * from gaps order by exchange, symbol, first_missing_id, last_missing_id",
        {"gaps": files},
        GAP.schema,
    )
    return [Gap.of(row) for row in rows.to_pylist()]


def _table(gaps: Sequence[Gap]) -> pa.Table:
    ordered = sorted(gaps, key=lambda g: (g.exchange, g.symbol, g.first_missing_id))
    return pa.Table.from_pylist([gap.row() for gap in ordered], schema=GAP.schema)


def _figures(looked_at: int, found: Sequence[Gap], changed: Sequence[Gap]) -> dict[str, int]:
    repaired = sum(gap.state == State.REPAIRED for gap in changed)
    return {"looked_at": looked_at, "found": len(found), "repaired": repaired}
