"""``gold.reconciliation``: what comparing candles told, kept by window.

What is compared again replaces what stood there, one commit for all; a window of which nothing new
was found keeps its row, and where that is so of all, nothing is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import reduce
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import BooleanExpression, Or
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine
from k2_lake.history import Mode, head_sequence
from k2_lake.quality.reconciliation import Reconciled, outcomes
from k2_lake.results import StepResult
from k2_lake.retained import retained
from k2_lake.scan import of_day, planned
from k2_lake.tables import RECONCILIATION_TABLE
from k2_market.klines import RECONCILIATION

# What is known anew each time and yet says nothing new of a window.
_WHEN = ("candles_snapshot", "compared_at")


@retry_conflicts
def keep(lake: Lake, engine: Engine, reconciled: Sequence[Reconciled], at: datetime) -> StepResult:
    """Put the windows into ``gold.reconciliation`` in one commit, or none if all stand there.

    Figures: windows, and how many came out how.
    """
    table = lake.table(RECONCILIATION_TABLE)
    before, figures = head_sequence(table), outcomes(reconciled)
    old: list[dict[str, Any]] = []
    for day, exchanges in sorted(_touched(reconciled).items()):
        old += _recorded(engine, table, of_day(RECONCILIATION.day, day, exchanges))
    kept = [row for row in old if not any(_compared(row, each) for each in reconciled)]
    known = {_key(row): row for row in old}
    new = [
        known[_key(row)] if _same(known.get(_key(row)), row) else row
        for each in reconciled
        for row in each.rows(at)
    ]
    changed = _places(old, [*kept, *new])
    if not changed:
        return StepResult.of(table, before=before, changed=False, figures=figures)
    rows = [row for row in (*kept, *new) if _place(row) in changed]
    rows.sort(key=lambda row: [row[c] for c in RECONCILIATION.order])
    held = retained(table)
    for day, _ in changed:
        held = held.with_restored(day)
    commit(
        table,
        add=[pa.Table.from_pylist(rows, schema=RECONCILIATION.schema)],
        remove=planned(table, RECONCILIATION.schema, _at(changed)).files,
        mode=Mode.RECOMPUTE,
        days={day for day, _ in changed},
        figures=figures,
        extra=held.to_extra(),
    )
    return StepResult.of(table, before=before, changed=True, figures=figures)


def recorded(
    lake: Lake, engine: Engine, where: BooleanExpression | None = None
) -> list[dict[str, Any]]:
    """The rows in the files that may hold what ``where`` says, in order of their key."""
    return _recorded(engine, lake.table(RECONCILIATION_TABLE), where)


def _recorded(
    engine: Engine, table: Table, where: BooleanExpression | None
) -> list[dict[str, Any]]:
    files = planned(table, RECONCILIATION.schema, where)
    order = ", ".join(RECONCILIATION.key)
    rows: list[dict[str, Any]] = engine.query(
        f"select * from windows order by {order}", {"windows": files}, RECONCILIATION.schema
    ).to_pylist()
    return rows


def _touched(reconciled: Sequence[Reconciled]) -> dict[date, set[str]]:
    """The partitions that hold, or will hold, windows of what was compared."""
    found: dict[date, set[str]] = {}
    for each in reconciled:
        for ordinal in range(each.start.toordinal(), each.end.toordinal() + 1):
            found.setdefault(date.fromordinal(ordinal), set()).add(each.exchange)
    return found


def _compared(row: Mapping[str, Any], each: Reconciled) -> bool:
    of = (each.exchange, each.symbol, each.timeframe)
    inside = each.start <= row["window_start"] < each.end
    return inside and (row["exchange"], row["symbol"], row["timeframe"]) == of


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in RECONCILIATION.key)


def _same(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    return old is not None and all(old[c] == new[c] for c in new if c not in _WHEN)


def _place(row: Mapping[str, Any]) -> tuple[date, str]:
    return row["window_date"], row["exchange"]


def _places(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> set[tuple[date, str]]:
    """The partitions whose rows are others than before."""
    was = {_key(row): row for row in old}
    now = {_key(row): row for row in new}
    return {
        _place(row)
        for rows, others in ((old, now), (new, was))
        for row in rows
        if row != others.get(_key(row))
    }


def _at(places: Iterable[tuple[date, str]]) -> BooleanExpression:
    return reduce(Or, [of_day(RECONCILIATION.day, day, [e]) for day, e in sorted(places)])
