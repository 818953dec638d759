"""Frames of bronze parsed: few of them here, many in parts, each written where it is parsed.

A part is files of bronze whose frames one process parses at once. No part depends on another: a
frame is in one file only, and what a parser makes of it depends on nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.manifest import DataFile

from k2_lake.engine import Engine, Input
from k2_lake.history import distinct_days
from k2_lake.outcome import writing
from k2_lake.parsed import Parse, Parsed, parsed_figures
from k2_lake.scan import Files
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME

if TYPE_CHECKING:
    from k2_lake.spark.written import Target


@dataclass(frozen=True)
class Gained:
    """Rows that no commit has added yet, in memory or in files, and the days they touch."""

    days: frozenset[date] = frozenset()
    rows: tuple[pa.Table, ...] = ()
    files: tuple[DataFile, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to add."""
        return bool(self.rows or self.files)


@dataclass(frozen=True)
class Pieces:
    """What became of frames: rows for silver, rows for ``silver.rejected``, and the figures."""

    rows: Gained
    rejected: Gained
    figures: Mapping[str, int]


@dataclass(frozen=True)
class _Part:
    """What a worker tells of a part: figures, and of both tables the days and the packed files."""

    figures: Mapping[str, int]
    days: tuple[frozenset[date], frozenset[date]]
    files: tuple[list[bytes], list[bytes]]


def parse_here(engine: Engine, kind: Kind, parse: Parse, frames: Files) -> Pieces:
    """Rows in memory. Raises InvariantBroken when a frame is unaccounted for, FileBroken."""
    if not frames.files:
        return Pieces(Gained(), Gained(), parsed_figures(kind, 0, ()))
    parsed, figures = _parsed(engine, frames, kind, parse)
    rows, rejected = (
        Gained(days, (table,)) if table.num_rows else Gained()
        for days, table in zip(_days(kind, parsed), (parsed.rows, parsed.rejected), strict=True)
    )
    return Pieces(rows, rejected, figures)


def parse_apart(
    engine: Engine,
    kind: Kind,
    parse: Parse,
    frames: Files,
    targets: tuple[Target, Target],
    at_once: int,
) -> Pieces:
    """Files that are written part by part, by the workers of an engine that has some.

    ``targets`` are silver's table and that of the rejected rows; a part has ``at_once`` frames, or
    those of one file if that has more. Raises as ``parse_here``.
    """
    work = partial(_written, kind=kind, parse=parse, targets=targets)
    told = engine.each(work, list(parts(frames, at_once)))
    figures = Counter(parsed_figures(kind, 0, ()))
    for part in told:
        figures.update(part.figures)
    rows, rejected = (
        Gained(
            days=frozenset[date]().union(*(part.days[place] for part in told)),
            files=tuple(target.unpacked(f) for part in told for f in part.files[place]),
        )
        for place, target in enumerate(targets)
    )
    return Pieces(rows, rejected, dict(figures))


def parts(frames: Files, at_once: int) -> Iterator[Files]:
    """The files in their order, ``at_once`` rows together, or those of one that has more."""
    part: list[DataFile] = []
    rows = 0
    for file in frames.files:
        if part and rows + file.record_count > at_once:
            yield frames.only(part)
            part, rows = [], 0
        part.append(file)
        rows += file.record_count
    if part:
        yield frames.only(part)


def _written(
    engine: Engine, frames: Files, kind: Kind, parse: Parse, targets: tuple[Target, Target]
) -> _Part:
    """Parse a part and write what it gives; it runs where the engine's workers are."""
    parsed, figures = _parsed(engine, frames, kind, parse)
    rows, rejected = targets
    files = _files(rows, parsed.rows), _files(rejected, parsed.rejected)
    return _Part(figures, _days(kind, parsed), files)


def _files(target: Target, rows: pa.Table) -> list[bytes]:
    with writing(target.name):
        return target.write(rows)


def _parsed(
    engine: Engine, frames: Files, kind: Kind, parse: Parse
) -> tuple[Parsed, dict[str, int]]:
    parsed = parse(_frames(engine, frames))
    return parsed, parsed_figures(kind, frames.rows, [parsed])


def _frames(engine: Engine, files: Files) -> pa.Table:
    inputs: dict[str, Input] = {"frames": files}
    order = ", ".join(RAW_FRAME.order)
    return engine.query(f"select * from frames order by {order}", inputs, RAW_FRAME.schema)


def _days(kind: Kind, parsed: Parsed) -> tuple[frozenset[date], frozenset[date]]:
    columns = parsed.rows[kind.record.day], parsed.rejected["ingest_date"]
    return frozenset(distinct_days(columns[0])), frozenset(distinct_days(columns[1]))
