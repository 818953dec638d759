"""The check of conditions: every instrument that gold has of a day has exactly one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date

from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.history import Consumed, snapshot_at
from k2_lake.quality.day_condition import conditions, seen
from k2_lake.retained import retained
from k2_lake.scan import of_day, planned
from k2_lake.scope import Scope, Verdict, retired_verdict
from k2_lake.tables import CONDITION_TABLE, gold_name
from k2_market.conditions import Instrumented
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind

SHOWN = 5


def one_condition_each(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """Whether the conditions of the day are those of gold's instruments, each once.

    Of gold as it was when they were computed: what came since is the next computation's. A kind of
    which gold has dropped the day, or forgotten that snapshot, is left out.
    """
    table = lake.table(CONDITION_TABLE)
    held = [kind for kind in Kind if _is_there(lake, kind, scope.day)]
    if not held:
        return retired_verdict("gold no longer holds what was counted")
    rows = conditions(engine, table, scope.day, scope.day)
    rows = [row for row in rows if row["kind"] in held]
    told = Counter(Instrumented(r["exchange"], r["symbol"], Kind(r["kind"])) for r in rows)
    found = {
        Instrumented(r["exchange"], r["symbol"], Kind(r["kind"])): r["rows"]
        for r in rows
        if r["rows"]
    }
    there = _rows_of_gold(lake, engine, scope, held)
    wrong = sorted(
        what for what in found.keys() | there.keys() if found.get(what) != there.get(what)
    )
    twice = sorted(what for what, n in told.items() if n > 1)
    first = [f"{w.exchange} {w.symbol} {w.kind}" for w in (*twice, *wrong)]
    figures: dict[str, int | str] = {
        "conditions": len(rows),
        "instruments_in_gold": len(there),
        "twice": len(twice),
        "other_than_gold": len(wrong),
    }
    if first:
        figures["first"] = "\n".join(first[:SHOWN])
    return Verdict(not first, figures)


def _rows_of_gold(
    lake: Lake, engine: Engine, scope: Scope, kinds: Iterable[Kind]
) -> dict[Instrumented, int]:
    found: dict[Instrumented, int] = {}
    for kind in kinds:
        table, day = lake.table(gold_name(kind)), kind.record.day
        as_of = _as_of(lake, kind, scope.day)
        files = planned(table, kind.record.schema, of_day(day, scope.day), as_of)
        counts = engine.query(
            "select exchange, symbol, count(*) as n from gold "
            f"where {day} = date '{scope.day.isoformat()}' group by exchange, symbol",
            {"gold": files},
        )
        for row in counts.to_pylist():
            found[Instrumented(row["exchange"], row["symbol"], kind)] = row["n"]
    return found


def _is_there(lake: Lake, kind: Kind, day: date) -> bool:
    """Whether what was counted can be counted again: neither dropped nor expired."""
    if not retained(lake.table(gold_name(kind))).holds(day):
        return False
    try:
        _as_of(lake, kind, day)
    except InvariantBroken:
        return False
    return True


def _as_of(lake: Lake, kind: Kind, day: date) -> int | None:
    """The snapshot of gold that the conditions of the day were computed from."""
    name = gold_name(kind)
    done = seen(lake.table(CONDITION_TABLE)).get(name, Consumed())
    return snapshot_at(lake.table(name), done.of(day))
