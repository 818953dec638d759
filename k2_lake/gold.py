"""Gold trades: the trades of all exchanges, each exactly once, whatever the cause of a repeat.

A tick reads the silver rows that are new and compares them with the gold rows whose ids they could
repeat. A recompute makes the day from all silver rows and replaces it in one commit. Both keep,
of repeats, the one received first, so both give identical rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import reduce

import pyarrow as pa
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    LessThanOrEqual,
    Or,
)
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine, Input, statement
from k2_lake.history import Change, Consumed, Mode, changes_since, consumed, head_sequence
from k2_lake.results import StepResult
from k2_lake.scan import Files, appended, of_day, planned
from k2_lake.tables import TRADES_TABLE, silver_name
from k2_market.exchanges import EXCHANGES
from k2_market.records import TRADE

# Beyond this many symbols in a tick one range per exchange prunes as well as one per symbol.
SYMBOL_RANGES = 64


@dataclass(frozen=True)
class Source:
    """A silver table, what gold has consumed of it and what has changed since."""

    table: Table
    done: Consumed
    changes: list[Change]

    def pending(self, day: date) -> list[Change]:
        """The changes that concern ``day`` and are not in gold yet."""
        return self.done.pending(self.changes).get(day, [])

    def after(self, day: date) -> Consumed:
        """What is consumed once ``day`` is done."""
        return self.done.after(day, self.changes, head_sequence(self.table))


@retry_conflicts
def merge_trades(lake: Lake, engine: Engine, day: date, *, recompute: bool = False) -> StepResult:
    """Bring one trade day of ``gold.trades`` up to date with silver.

    Adds what is new; computes the whole day when asked to, or when silver was recomputed.
    Figures: incoming (silver rows read), added, duplicates, replaced (rows that gave way to one
    received earlier), recomputed (1 or 0).
    """
    gold = lake.table(TRADES_TABLE)
    sources = _sources(lake, gold)
    pending = {name: s.pending(day) for name, s in sources.items()}
    if recompute or any(c.mode is Mode.RECOMPUTE for changes in pending.values() for c in changes):
        return _recompute(gold, engine, sources, day)
    if not any(pending.values()):
        return StepResult.of(
            gold, before=head_sequence(gold), changed=False, figures=_figures(0, 0, 0)
        )
    return _append(gold, engine, sources, pending, day)


def pending_days(lake: Lake) -> dict[date, str]:
    """The trade days of which silver holds changes that gold has not consumed.

    Each with the newest of those changes, ``table@sequence`` for every silver table concerned.
    """
    found: dict[date, list[str]] = {}
    for name, source in _sources(lake, lake.table(TRADES_TABLE)).items():
        for day, changes in source.done.pending(source.changes).items():
            found.setdefault(day, []).append(f"{name}@{changes[-1].sequence}")
    return {day: " ".join(parts) for day, parts in found.items()}


def _sources(lake: Lake, gold: Table) -> dict[str, Source]:
    done = consumed(gold)
    found = {}
    for name in map(silver_name, EXCHANGES):
        table = lake.table(name)
        so_far = done.get(name, Consumed())
        found[name] = Source(table, so_far, changes_since(table, so_far.through))
    return found


def _append(
    gold: Table,
    engine: Engine,
    sources: Mapping[str, Source],
    pending: Mapping[str, list[Change]],
    day: date,
) -> StepResult:
    files = Files(TRADE.schema, ())
    for name, changes in pending.items():
        files += appended(sources[name].table, [c.snapshot for c in changes], TRADE.schema)
    incoming, count = _once(engine, files, day)
    candidates = (
        planned(gold, TRADE.schema, _ids(day, incoming))
        if incoming.num_rows
        else Files(TRADE.schema, ())
    )
    new, replaced = _new(engine, incoming, candidates)
    kept = _without(engine, candidates, new) if replaced else []
    figures = _figures(count, new.num_rows - replaced, replaced)
    before = head_sequence(gold)
    commit(
        gold,
        add=[*kept, new],
        remove=candidates.files if replaced else (),
        mode=Mode.RECOMPUTE if replaced else Mode.APPEND,
        days=[day] if new.num_rows else [],
        sources={name: s.after(day) for name, s in sources.items()},
        figures=figures,
    )
    return StepResult.of(gold, before=before, changed=new.num_rows > 0, figures=figures)


def _recompute(gold: Table, engine: Engine, sources: Mapping[str, Source], day: date) -> StepResult:
    old = planned(gold, TRADE.schema, of_day("trade_date", day))
    counts = {"incoming": 0, "rows": 0}

    def exchanges() -> Iterator[pa.Table]:
        for source in sources.values():
            files = planned(source.table, TRADE.schema, EqualTo("trade_date", day))
            rows, count = _once(engine, files, day)
            counts["incoming"] += count
            counts["rows"] += rows.num_rows
            yield rows

    tables = list(exchanges())
    before = head_sequence(gold)
    figures = {**_figures(counts["incoming"], counts["rows"], 0), "recomputed": 1}
    commit(
        gold,
        add=tables,
        remove=old.files,
        mode=Mode.RECOMPUTE,
        days=[day],
        sources={name: s.after(day) for name, s in sources.items()},
        figures=figures,
    )
    return StepResult.of(gold, before=before, changed=True, figures=figures)


def _once(engine: Engine, files: Files, day: date) -> tuple[pa.Table, int]:
    """The trades of ``day`` in the files, each once, and how many rows there were."""
    inputs: dict[str, Input] = {"silver": files}
    rows = engine.query(
        f"select {_columns('s')} from silver s where trade_date = date '{day.isoformat()}'"
        " order by symbol, timestamp, source_sequence, trade_id",
        inputs,
        TRADE.schema,
    )
    # A window over all rows costs more than all else here, and repeats are rare.
    if rows.select(TRADE.key).group_by(list(TRADE.key)).aggregate([]).num_rows == rows.num_rows:
        return rows, rows.num_rows
    sql = statement("dedupe_trades").format(columns=_columns("ranked"))
    return engine.query(sql, {"incoming": rows}, TRADE.schema), rows.num_rows


def _new(engine: Engine, incoming: pa.Table, candidates: Files) -> tuple[pa.Table, int]:
    """The incoming trades to add, in order, and how many of them replace one that gold has."""
    inputs: dict[str, Input] = {"incoming": incoming, "existing": candidates}
    shared = engine.query(statement("shared_sequences"), inputs)
    if not shared["n"][0].as_py():
        return incoming, 0
    fresh = engine.query(statement("new_trades").format(columns=_columns("i")), inputs)
    replacing = fresh.filter(fresh["replaces"]).num_rows
    return fresh.select(TRADE.columns).cast(TRADE.schema), replacing


def _without(engine: Engine, candidates: Files, replaced: pa.Table) -> list[pa.Table]:
    sql = statement("without_trades").format(columns=_columns("e"))
    return [engine.query(sql, {"existing": candidates, "replaced": replaced}, TRADE.schema)]


def _ids(day: date, trades: pa.Table) -> BooleanExpression:
    """The gold rows that these trades could repeat: same day, exchange, symbol and range of ids."""
    groups = ["exchange", "symbol"]
    ranges = trades.group_by(groups).aggregate([("source_sequence", "min_max")])
    if ranges.num_rows > SYMBOL_RANGES:
        groups = ["exchange"]
        ranges = trades.group_by(groups).aggregate([("source_sequence", "min_max")])
    each = []
    for row in ranges.to_pylist():
        bounds = row["source_sequence_min_max"]
        named = [EqualTo(g, row[g]) for g in groups]
        each.append(
            reduce(
                And,
                [
                    *named,
                    GreaterThanOrEqual("source_sequence", bounds["min"]),
                    LessThanOrEqual("source_sequence", bounds["max"]),
                ],
            )
        )
    return And(EqualTo("trade_date", day), reduce(Or, each))


def _columns(alias: str) -> str:
    return ", ".join(f"{alias}.{c}" for c in TRADE.columns)


def _figures(incoming: int, added: int, replaced: int) -> dict[str, int]:
    return {
        "incoming": incoming,
        "added": added,
        "duplicates": incoming - added,
        "replaced": replaced,
        "recomputed": 0,
    }
