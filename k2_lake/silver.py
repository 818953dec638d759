"""Silver: frames of bronze parsed into rows; what breaks a rule goes to ``silver.rejected``.

The parser is given: it belongs to the feeds. A tick parses what bronze has gained; a recompute
parses a day of arrival anew and replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import Protocol

import pyarrow as pa
from pyiceberg.expressions import And, EqualTo

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine, Input
from k2_lake.history import (
    Change,
    Consumed,
    Mode,
    changes_since,
    consumed,
    distinct_days,
    head_sequence,
    snapshot_at,
)
from k2_lake.results import StepResult
from k2_lake.retained import require_held, retained
from k2_lake.scan import Files, appended, of_day, planned
from k2_lake.tables import REJECTED_TABLE, bronze_name, silver_name
from k2_market.errors import CommitConflict, InvariantBroken
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME, REJECTED

FRAMES_PER_COMMIT = 500_000


class Parsed(Protocol):
    """What a parser makes of a batch of frames."""

    @property
    def rows(self) -> pa.Table:
        """Rows of the kind's record."""
        ...

    @property
    def rejected(self) -> pa.Table:
        """Rows of the Rejected record."""
        ...

    @property
    def control(self) -> int:
        """Frames that carry no market data."""
        ...

    @property
    def other(self) -> int:
        """Frames of channels that are not kept."""
        ...


Parse = Callable[[pa.Table], Parsed]


@retry_conflicts
def refine(lake: Lake, engine: Engine, exchange: str, kind: Kind, parse: Parse) -> StepResult:
    """Parse what bronze has gained since the last time, whatever day it arrived on.

    Figures: frames, rows (by the name of the kind), rejected, control, other. Raises
    InvariantBroken when a frame is unaccounted for.
    """
    source = bronze_name(exchange, kind)
    bronze, silver = lake.table(source), lake.table(silver_name(exchange, kind))
    rejected = lake.table(REJECTED_TABLE)
    done = consumed(silver).get(source, Consumed())
    noted = consumed(rejected).get(source, Consumed()).through
    before = head_sequence(silver)
    totals = parsed_figures(kind, 0, ())
    for group in _groups(changes_since(bronze, done.through), cut_after=noted):
        files = appended(bronze, [c.snapshot for c in group], RAW_FRAME.schema)
        parsed = parse(_frames(engine, files))
        figures = parsed_figures(kind, files.rows, [parsed])
        through = Consumed(group[-1].sequence)
        if through.through > noted and parsed.rejected.num_rows:
            if not _note_rejected(lake, source, parsed.rejected, noted, through):
                raise _overtaken(exchange, kind)
            noted = through.through
        commit(
            silver,
            add=[parsed.rows],
            mode=Mode.APPEND,
            days=distinct_days(parsed.rows[kind.record.day]),
            sources={source: through},
            figures=figures,
        )
        totals = {k: n + figures[k] for k, n in totals.items()}
    return StepResult.of(silver, before=before, changed=totals["frames"] > 0, figures=totals)


def refine_day(
    lake: Lake, engine: Engine, exchange: str, kind: Kind, parse: Parse, day: date
) -> StepResult:
    """Parse all frames that arrived on ``day`` anew and replace the day in both tables.

    Frames not parsed yet are parsed first, so that none is parsed twice. Figures as of ``refine``,
    for the day. Raises DayRetired when bronze no longer holds the day.
    """
    refine(lake, engine, exchange, kind, parse)
    return _replace_day(lake, engine, exchange, kind, parse, day)


@retry_conflicts
def _replace_day(
    lake: Lake, engine: Engine, exchange: str, kind: Kind, parse: Parse, day: date
) -> StepResult:
    source = bronze_name(exchange, kind)
    bronze, silver = lake.table(source), lake.table(silver_name(exchange, kind))
    require_held(bronze, day, of=silver_name(exchange, kind))
    through = consumed(silver).get(source, Consumed())
    # As of what silver has consumed: frames that came since are the next tick's, not this day's.
    frames = planned(
        bronze, RAW_FRAME.schema, of_day("ingest_date", day), snapshot_at(bronze, through.through)
    )
    old = planned(silver, kind.record.schema, of_day("ingest_date", day))
    parsed = [(part.rows, parse(_frames(engine, part))) for part in _parts(frames)]
    before = head_sequence(silver)
    totals = parsed_figures(kind, sum(rows for rows, _ in parsed), [part for _, part in parsed])
    if not _replace_rejected(lake, exchange, kind, day, through, [p.rejected for _, p in parsed]):
        raise _overtaken(exchange, kind)
    days = set(_old_days(engine, kind, old)).union(
        *(distinct_days(p.rows[kind.record.day]) for _, p in parsed)
    )
    commit(
        silver,
        add=[p.rows for _, p in parsed],
        remove=old.files,
        mode=Mode.RECOMPUTE,
        days=days,
        sources={source: through},
        figures=totals,
        extra=retained(silver).with_restored(day).to_extra(),
    )
    return StepResult.of(silver, before=before, changed=True, figures=totals)


@retry_conflicts
def _note_rejected(lake: Lake, source: str, rows: pa.Table, noted: int, through: Consumed) -> bool:
    """Whether the rows were added: not when the source is no longer noted up to ``noted``.

    All exchanges write this table, so a lost race is retried, but not over another run's rows.
    """
    table = lake.table(REJECTED_TABLE)
    if consumed(table).get(source, Consumed()).through != noted:
        return False
    commit(
        table,
        add=[rows],
        mode=Mode.APPEND,
        days=distinct_days(rows["ingest_date"]),
        sources={**consumed(table), source: through},
        figures={"rejected": rows.num_rows},
    )
    return True


@retry_conflicts
def _replace_rejected(
    lake: Lake, exchange: str, kind: Kind, day: date, through: Consumed, parts: list[pa.Table]
) -> bool:
    """Whether the day was replaced: not when rows of frames beyond ``through`` stand in it."""
    table = lake.table(REJECTED_TABLE)
    noted = consumed(table).get(bronze_name(exchange, kind), Consumed())
    if noted.through > through.through:
        return False
    old = planned(
        table,
        REJECTED.schema,
        And(of_day("ingest_date", day, [exchange]), EqualTo("kind", str(kind))),
    )
    if not old.files and not any(p.num_rows for p in parts):
        return True
    commit(
        table,
        add=parts,
        remove=old.files,
        mode=Mode.RECOMPUTE,
        days=[day],
        sources=consumed(table),
        figures={"rejected": sum(p.num_rows for p in parts)},
    )
    return True


def _overtaken(exchange: str, kind: Kind) -> CommitConflict:
    return CommitConflict(f"{silver_name(exchange, kind)}: another run has parsed the same frames")


def _groups(changes: list[Change], cut_after: int) -> Iterator[list[Change]]:
    """Consecutive changes, small enough for one commit; none reaches across ``cut_after``.

    The cut is where a killed run had noted its rejected rows but not yet its trades.
    """
    group: list[Change] = []
    rows = 0
    for change in changes:
        summary = change.snapshot.summary
        added = int(summary.additional_properties.get("added-records", 0)) if summary else 0
        if group and rows + added > FRAMES_PER_COMMIT:
            yield group
            group, rows = [], 0
        group.append(change)
        rows += added
        if change.sequence == cut_after:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _parts(frames: Files) -> Iterator[Files]:
    part: list[int] = []
    rows = 0
    for index, file in enumerate(frames.files):
        if part and rows + file.record_count > FRAMES_PER_COMMIT:
            yield Files(frames.schema, tuple(frames.files[i] for i in part))
            part, rows = [], 0
        part.append(index)
        rows += file.record_count
    if part:
        yield Files(frames.schema, tuple(frames.files[i] for i in part))


def _frames(engine: Engine, files: Files) -> pa.Table:
    inputs: dict[str, Input] = {"frames": files}
    order = ", ".join(RAW_FRAME.order)
    return engine.query(f"select * from frames order by {order}", inputs, RAW_FRAME.schema)


def parsed_figures(kind: Kind, frames: int, parts: Sequence[Parsed]) -> dict[str, int]:
    """Counts of batches; every frame must be rows, rejected, control or other."""
    told = sum(_told(part) for part in parts)
    control, other = sum(p.control for p in parts), sum(p.other for p in parts)
    if told + control + other != frames:
        raise InvariantBroken(
            f"{frames} frames were parsed, but {told} gave rows, {control} were control and "
            f"{other} of other channels: the parser lost or invented some."
        )
    return {
        "frames": frames,
        str(kind): sum(p.rows.num_rows for p in parts),
        "rejected": sum(p.rejected.num_rows for p in parts),
        "control": control,
        "other": other,
    }


def _told(parsed: Parsed) -> int:
    """How many frames gave rows, good or rejected."""
    coordinates = ["epoch", "kafka_partition", "kafka_offset"]
    both = [parsed.rows.select(coordinates), parsed.rejected.select(coordinates)]
    return pa.concat_tables(both).group_by(coordinates).aggregate([]).num_rows


def _old_days(engine: Engine, kind: Kind, old: Files) -> Iterable[date]:
    day, inputs = kind.record.day, {"old": old}
    return distinct_days(engine.query(f"select distinct {day} from old", inputs)[day])
