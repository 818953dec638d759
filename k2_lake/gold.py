"""Gold trades and quotes: those of all exchanges, each exactly once, whatever made a repeat.

A tick reads the silver rows that are new and compares them with the gold rows whose ids they could
repeat. A recompute makes the day from all silver rows and replaces it in one commit. Both keep,
of repeats, the one received first, so both give identical rows.
"""

from __future__ import annotations

from collections.abc import Mapping
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

from k2_lake.aggregates import against_gold
from k2_lake.catalog import Lake
from k2_lake.commit import commit, committed, retry_conflicts
from k2_lake.engine import Engine, Input, statement
from k2_lake.history import Change, Consumed, Mode, consumed, head_sequence
from k2_lake.lost import follow
from k2_lake.once import held_once, once, statement_for
from k2_lake.outcome import Outputs
from k2_lake.results import StepResult
from k2_lake.retained import require_silver, retained, silver_gone
from k2_lake.scan import Files, appended, of_day, planned
from k2_lake.tables import gold_name, silver_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind

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
def merge(
    lake: Lake, engine: Engine, kind: Kind, day: date, *, recompute: bool = False
) -> StepResult:
    """Bring one day of ``gold.trades`` or ``gold.quotes`` up to date with silver.

    Adds what is new; computes the whole day when asked to, or when silver was recomputed.
    Figures: incoming (silver rows read), added, duplicates, replaced (rows that gave way to one
    received earlier), recomputed (1 or 0); beyond_retention, where rows came for a day that gold or
    silver has dropped, so that the day stays as it is. Raises DayRetired when asked to compute such
    a day.
    """
    gold = lake.table(gold_name(kind))
    sources = _sources(lake, kind, gold, recompute=recompute)
    pending = {name: s.pending(day) for name, s in sources.items()}
    if recompute:
        require_silver(gold, kind, _tables(sources), day)
        return _recompute(gold, engine, kind, sources, day)
    if not any(pending.values()):
        return StepResult.of(
            gold, before=head_sequence(gold), changed=False, figures=_figures(0, 0, 0)
        )
    if not retained(gold).holds(day):
        return _left_alone(gold, engine, kind, sources, pending, day)
    if any(c.mode is Mode.RECOMPUTE for changes in pending.values() for c in changes):
        return _recompute_held(gold, engine, kind, sources, pending, day)
    return _append(gold, engine, kind, sources, pending, day)


def pending_days(lake: Lake, kind: Kind) -> dict[date, str]:
    """The days of which silver holds changes that gold has not consumed.

    Each with the newest of those changes, ``table@sequence`` for every silver table concerned.
    """
    found: dict[date, list[str]] = {}
    for name, source in _sources(lake, kind, lake.table(gold_name(kind))).items():
        for day, changes in source.done.pending(source.changes).items():
            found.setdefault(day, []).append(f"{name}@{changes[-1].sequence}")
    return {day: " ".join(parts) for day, parts in found.items()}


def _sources(lake: Lake, kind: Kind, gold: Table, *, recompute: bool = False) -> dict[str, Source]:
    done = consumed(gold)
    found = {}
    for name in (silver_name(exchange, kind) for exchange in EXCHANGES):
        table, so_far = lake.table(name), done.get(name, Consumed())
        rest = follow(table, so_far, of=gold_name(kind), day=kind.record.day, recompute=recompute)
        found[name] = Source(table, rest.done, rest.changes)
    return found


def _recompute_held(
    gold: Table,
    engine: Engine,
    kind: Kind,
    sources: Mapping[str, Source],
    pending: Mapping[str, list[Change]],
    day: date,
) -> StepResult:
    """The whole day, unless silver has dropped some of what it was made of."""
    if silver_gone(gold, kind, _tables(sources), day):
        return _left_alone(gold, engine, kind, sources, pending, day)
    return _recompute(gold, engine, kind, sources, day)


def _left_alone(
    gold: Table,
    engine: Engine,
    kind: Kind,
    sources: Mapping[str, Source],
    pending: Mapping[str, list[Change]],
    day: date,
) -> StepResult:
    """Note that the changes were seen, and how many rows came in vain; the day stays as it is."""
    _, count = once(engine, kind, _arrived(kind, sources, pending), day)
    figures = {**_figures(0, 0, 0), "beyond_retention": count}
    before = head_sequence(gold)
    commit(
        gold,
        mode=Mode.APPEND,
        days=[],
        sources={name: s.after(day) for name, s in sources.items()},
        figures=figures,
    )
    return StepResult.of(gold, before=before, changed=False, figures=figures)


def _arrived(
    kind: Kind, sources: Mapping[str, Source], pending: Mapping[str, list[Change]]
) -> Files:
    """The files that the pending changes brought."""
    files = Files(kind.record.schema, ())
    for name, changes in pending.items():
        files += appended(sources[name].table, [c.snapshot for c in changes], files.schema)
    return files


def _tables(sources: Mapping[str, Source]) -> list[Table]:
    return [source.table for source in sources.values()]


def _append(
    gold: Table,
    engine: Engine,
    kind: Kind,
    sources: Mapping[str, Source],
    pending: Mapping[str, list[Change]],
    day: date,
) -> StepResult:
    schema = kind.record.schema
    incoming, count = once(engine, kind, _arrived(kind, sources, pending), day)
    if kind is Kind.TRADES and incoming.num_rows:
        incoming, overlap = against_gold(engine, gold, day, incoming)
        if overlap:
            return _recompute_held(gold, engine, kind, sources, pending, day)
    candidates = (
        planned(gold, schema, _ids(kind, day, incoming)) if incoming.num_rows else Files(schema, ())
    )
    new, replaced = _new(engine, kind, incoming, candidates)
    kept = _without(engine, kind, candidates, new) if replaced else []
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


def _recompute(
    gold: Table, engine: Engine, kind: Kind, sources: Mapping[str, Source], day: date
) -> StepResult:
    record = kind.record
    old = planned(gold, record.schema, of_day(record.day, day))
    parts, incoming = [], 0
    for source in sources.values():
        files = planned(source.table, record.schema, EqualTo(record.day, day))
        if files.files:
            part, count = held_once(engine, kind, files, day)
            parts.append(part)
            incoming += count
    outputs = Outputs(gold.io)
    with committed(gold, outputs):
        new = [file for part in parts for file in part.written(gold, outputs)]
    before = head_sequence(gold)
    rows = sum(file.record_count for file in new)
    figures = {**_figures(incoming, rows, 0), "recomputed": 1}
    commit(
        gold,
        add_files=new,
        outputs=outputs,
        remove=old.files,
        mode=Mode.RECOMPUTE,
        days=[day],
        sources={name: s.after(day) for name, s in sources.items()},
        figures=figures,
        extra=retained(gold).with_restored(day).to_extra(),
    )
    return StepResult.of(gold, before=before, changed=True, figures=figures)


def _new(engine: Engine, kind: Kind, incoming: pa.Table, candidates: Files) -> tuple[pa.Table, int]:
    """The incoming rows to add, in order, and how many of them replace one that gold has."""
    inputs: dict[str, Input] = {"incoming": incoming, "existing": candidates}
    shared = engine.query(statement("shared_sequences"), inputs)
    if not shared["n"][0].as_py():
        return incoming, 0
    fresh = engine.query(statement_for("new_rows", kind, "i"), inputs)
    replacing = fresh.filter(fresh["replaces"]).num_rows
    return fresh.select(kind.record.columns).cast(kind.record.schema), replacing


def _without(engine: Engine, kind: Kind, candidates: Files, replaced: pa.Table) -> list[pa.Table]:
    inputs: dict[str, Input] = {"existing": candidates, "replaced": replaced}
    return [engine.query(statement_for("without_rows", kind, "e"), inputs, kind.record.schema)]


def _ids(kind: Kind, day: date, rows: pa.Table) -> BooleanExpression:
    """The gold rows that these could repeat: same day, exchange, symbol and range of sequences."""
    groups = ["exchange", "symbol"]
    ranges = rows.group_by(groups).aggregate([("source_sequence", "min_max")])
    if ranges.num_rows > SYMBOL_RANGES:
        groups = ["exchange"]
        ranges = rows.group_by(groups).aggregate([("source_sequence", "min_max")])
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
    return And(EqualTo(kind.record.day, day), reduce(Or, each))


def _figures(incoming: int, added: int, replaced: int) -> dict[str, int]:
    return {
        "incoming": incoming,
        "added": added,
        "duplicates": incoming - added,
        "replaced": replaced,
        "recomputed": 0,
    }
