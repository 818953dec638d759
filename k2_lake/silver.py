"""Silver: frames of bronze parsed into rows; what breaks a rule goes to ``silver.rejected``.

A tick follows the changes of bronze: it parses what bronze has gained, and replaces the days of
arrival that bronze had computed anew. A recompute parses a day of arrival anew and replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from pyiceberg.expressions import And, EqualTo, In
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine
from k2_lake.history import (
    Change,
    Consumed,
    Mode,
    consumed,
    head_sequence,
    snapshot_at,
)
from k2_lake.lost import follow
from k2_lake.outcome import Outputs
from k2_lake.parsed import Parse, parsed_figures
from k2_lake.pieces import Pieces, parse_apart, parse_here
from k2_lake.replaced import days_held
from k2_lake.results import StepResult
from k2_lake.retained import require_held, retained, retained_after
from k2_lake.scan import Files, appended, of_day, planned
from k2_lake.tables import REJECTED_TABLE, bronze_name, name_of, silver_name
from k2_market.errors import CommitConflict
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME, REJECTED

# Parsed at once, in memory; of more, each part is written as soon as it is parsed.
FRAMES_PER_COMMIT = 500_000


@dataclass(frozen=True)
class _Batch:
    """Frames parsed for one commit, and up to where it brings silver.

    ``replaced`` are the days of arrival whose rows it takes the place of; none where it adds.
    """

    parsed: Pieces
    through: Consumed
    replaced: frozenset[date]


@retry_conflicts
def refine(
    lake: Lake,
    engine: Engine,
    exchange: str,
    kind: Kind,
    parse: Parse,
    *,
    recompute: bool = False,
) -> StepResult:
    """Follow what became of bronze since the last time, change by change.

    What it gained is parsed and added, whatever day it arrived on; the days of arrival that it had
    computed anew are replaced by what it then held of them. Figures: frames, rows (by the name of
    the kind), rejected, control, other. Raises InvariantBroken when a frame is unaccounted for, and
    HistoryGone where changes of bronze are gone that were not followed: then a ``recompute``
    replaces all days that they may have touched.
    """
    source = bronze_name(exchange, kind)
    bronze, silver = lake.table(source), lake.table(silver_name(exchange, kind))
    done = consumed(silver).get(source, Consumed())
    noted = _noted(lake, source)
    before = head_sequence(silver)
    totals = parsed_figures(kind, 0, ())
    since = follow(bronze, done, of=name_of(silver), day=RAW_FRAME.day, recompute=recompute)
    at_most = FRAMES_PER_COMMIT * engine.parts_at_once
    for group in _groups(since.changes, at_most, cut_after=noted):
        files, replaced = _changed(bronze, group)
        parsed = _parsed(lake, engine, silver, kind, parse, files)
        batch = _Batch(parsed, Consumed(group[-1].sequence), replaced)
        if batch.through.through > noted or noted > head_sequence(bronze):
            noted = _with_rejected(lake, exchange, kind, batch, noted)
        _commit(engine, silver, source, kind, batch)
        totals = {k: n + parsed.figures[k] for k, n in totals.items()}
    return StepResult.of(
        silver, before=before, changed=head_sequence(silver) > before, figures=totals
    )


def refine_day(
    lake: Lake, engine: Engine, exchange: str, kind: Kind, parse: Parse, day: date
) -> StepResult:
    """Parse all frames that arrived on ``day`` anew and replace the day in both tables.

    Changes of bronze not followed yet are followed first, so that no frame is parsed twice.
    Figures as of ``refine``, for the day. Raises DayRetired when bronze no longer holds the day.
    """
    refine(lake, engine, exchange, kind, parse, recompute=True)
    return _replace_day(lake, engine, exchange, kind, parse, day)


@retry_conflicts
def _replace_day(
    lake: Lake, engine: Engine, exchange: str, kind: Kind, parse: Parse, day: date
) -> StepResult:
    source = bronze_name(exchange, kind)
    bronze, silver = lake.table(source), lake.table(silver_name(exchange, kind))
    require_held(bronze, day, of=silver_name(exchange, kind))
    through = consumed(silver).get(source, Consumed())
    noted = _noted(lake, source)
    if noted > through.through:
        raise CommitConflict(f"{name_of(silver)}: another run is parsing the same frames")
    # As of what silver has consumed: frames that came since are the next tick's, not this day's.
    at = snapshot_at(bronze, through.through)
    frames = Files(RAW_FRAME.schema, ())
    if at is not None:
        frames = planned(bronze, RAW_FRAME.schema, of_day("ingest_date", day), at)
    batch = _Batch(_parsed(lake, engine, silver, kind, parse, frames), through, frozenset([day]))
    before = head_sequence(silver)
    _with_rejected(lake, exchange, kind, batch, noted)
    _commit(engine, silver, source, kind, batch)
    return StepResult.of(silver, before=before, changed=True, figures=batch.parsed.figures)


def _changed(bronze: Table, group: Sequence[Change]) -> tuple[Files, frozenset[date]]:
    """The frames that these changes added; or what bronze held of the days recomputed, and those.

    A day of which bronze then held only a rest is not among them: silver keeps what it has.
    """
    last = group[-1]
    if last.mode is not Mode.RECOMPUTE:
        return appended(bronze, [c.snapshot for c in group], RAW_FRAME.schema), frozenset()
    then = retained_after(last)
    days = frozenset(day for day in last.days if then.holds(day))
    if not days:
        return Files(RAW_FRAME.schema, ()), days
    which = In("ingest_date", sorted(days))
    return planned(bronze, RAW_FRAME.schema, which, last.snapshot.snapshot_id), days


def _parsed(
    lake: Lake, engine: Engine, silver: Table, kind: Kind, parse: Parse, frames: Files
) -> Pieces:
    """Few frames are parsed here, as every tick's are; more by whoever the engine has for it."""
    if frames.rows <= FRAMES_PER_COMMIT:
        return parse_here(engine, kind, parse, frames)
    from k2_lake.spark.written import Target

    both = silver, lake.table(REJECTED_TABLE)
    targets = Target.of(both[0], lake.io.properties), Target.of(both[1], lake.io.properties)
    return parse_apart(engine, kind, parse, frames, targets, FRAMES_PER_COMMIT)


def _commit(engine: Engine, silver: Table, source: str, kind: Kind, batch: _Batch) -> None:
    """Add the rows, or put them in the place of those of the days of arrival replaced."""
    record, gained = kind.record, batch.parsed.rows
    days = set(gained.days)
    old = Files(record.schema, ())
    if batch.replaced:
        old = planned(silver, record.schema, In("ingest_date", sorted(batch.replaced)))
        days |= days_held(engine, silver, record.day, old)
    outputs = Outputs(silver.io)
    outputs.adopt(gained.files)
    commit(
        silver,
        add=gained.rows,
        add_files=gained.files,
        outputs=outputs,
        remove=old.files,
        mode=Mode.RECOMPUTE if batch.replaced else Mode.APPEND,
        days=days,
        sources={source: batch.through},
        figures=batch.parsed.figures,
        extra=_restored(silver, batch.replaced),
    )


def _restored(silver: Table, days: Iterable[date]) -> dict[str, str]:
    """What the commit says that silver holds: days that were replaced, all of what there was."""
    held = retained(silver)
    for day in days:
        held = held.with_restored(day)
    return held.to_extra()


def _noted(lake: Lake, source: str) -> int:
    """Up to which sequence of the source its rejected rows are on record."""
    return consumed(lake.table(REJECTED_TABLE)).get(source, Consumed()).through


def _with_rejected(lake: Lake, exchange: str, kind: Kind, batch: _Batch, noted: int) -> int:
    """Up to where the source is noted with the batch's rejected rows. Raises CommitConflict."""
    now = _note_rejected(lake, exchange, kind, batch, noted)
    if now is None:
        surplus = Outputs(lake.io)
        surplus.adopt([*batch.parsed.rows.files, *batch.parsed.rejected.files])
        surplus.undo()
        raise CommitConflict(
            f"{silver_name(exchange, kind)}: another run is parsing the same frames"
        )
    return now


@retry_conflicts
def _note_rejected(lake: Lake, exchange: str, kind: Kind, batch: _Batch, noted: int) -> int | None:
    """Bring the rejected rows to those of the batch; None where ``noted`` holds no longer.

    All exchanges write this table, so a lost race is retried, but not over another run's rows.
    """
    source, table = bronze_name(exchange, kind), lake.table(REJECTED_TABLE)
    if consumed(table).get(source, Consumed()).through != noted:
        return None
    gained = batch.parsed.rejected
    old = Files(REJECTED.schema, ())
    if batch.replaced:
        of_source = And(EqualTo("exchange", exchange), EqualTo("kind", str(kind)))
        arrived = In("ingest_date", sorted(batch.replaced))
        old = planned(table, REJECTED.schema, And(arrived, of_source))
    if not gained and not old.files and noted <= batch.through.through:
        return noted
    commit(
        table,
        add=gained.rows,
        add_files=gained.files,
        remove=old.files,
        mode=Mode.RECOMPUTE if batch.replaced else Mode.APPEND,
        days=batch.replaced or gained.days,
        sources={**consumed(table), source: batch.through},
        figures={"rejected": batch.parsed.figures["rejected"]},
    )
    return batch.through.through


def _groups(changes: list[Change], at_most: int, cut_after: int) -> Iterator[list[Change]]:
    """Consecutive changes, of ``at_most`` frames for one commit; none reaches across ``cut_after``.

    The cut is where a killed run had noted its rejected rows but not yet its trades. A recompute
    is always alone.
    """
    group: list[Change] = []
    rows = 0
    for change in changes:
        if group and Mode.RECOMPUTE in (change.mode, group[-1].mode):
            yield group
            group, rows = [], 0
        summary = change.snapshot.summary
        added = int(summary.additional_properties.get("added-records", 0)) if summary else 0
        if group and rows + added > at_most:
            yield group
            group, rows = [], 0
        group.append(change)
        rows += added
        if change.sequence == cut_after:
            yield group
            group, rows = [], 0
    if group:
        yield group
