"""Dead letters parsed again, by a parser that may read more than the one that refused them.

Rows that come out go to silver, and what is still refused stays rejected, exactly as if the day
were parsed anew, at the price of the frames concerned. Two tables change, silver first: a run that
is killed between the two leaves letters of frames whose rows are in silver, and the next one finds
them there and only takes the letters away. Silver's commit names the days it touched, so gold and
candles follow as they follow any tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    LessThanOrEqual,
)
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.engine import Engine, statement
from k2_lake.history import Consumed, Mode, consumed, distinct_days, snapshot_at
from k2_lake.letters import Batch, Wanted, batches
from k2_lake.parsed import Parse, Parsed, parsed_figures
from k2_lake.scan import Files, of_day, planned
from k2_lake.silver import FRAMES_PER_COMMIT
from k2_lake.tables import REJECTED_TABLE, bronze_name, silver_name
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME, REJECTED

_PLACE = ("epoch", "kafka_partition", "kafka_offset")
_ROW = (*_PLACE, "frame_index")


@dataclass(frozen=True)
class Replayed:
    """What a second parse did.

    ``frames`` were parsed; ``rows`` came into silver; ``letters`` were rejected before, ``still``
    are rejected now; ``days`` are those, of trades or quotes, that silver's commits touched.
    """

    frames: int = 0
    rows: int = 0
    letters: int = 0
    still: int = 0
    days: frozenset[date] = frozenset()

    def __add__(self, other: Replayed) -> Replayed:
        """Both together."""
        return Replayed(
            self.frames + other.frames,
            self.rows + other.rows,
            self.letters + other.letters,
            self.still + other.still,
            self.days | other.days,
        )


def replay(
    lake: Lake, engine: Engine, wanted: Wanted, parser: Callable[[str, Kind], Parse]
) -> dict[tuple[str, Kind], Replayed]:
    """Parse the frames of these letters again, by exchange and kind.

    ``parser`` gives the parser of an exchange's kind. All letters of a frame are replaced,
    whichever of them was wanted. Frames that silver has not consumed yet are left to it. Running it
    twice changes nothing. Raises InvariantBroken when the parser loses a frame.
    """
    done: dict[tuple[str, Kind], Replayed] = {}
    for batch in batches(lake, engine, wanted, FRAMES_PER_COMMIT):
        key = (batch.exchange, Kind(batch.kind))
        replayed = _replay(lake, engine, batch, parser(*key))
        done[key] = done.get(key, Replayed()) + replayed
    return done


@retry_conflicts
def _replay(lake: Lake, engine: Engine, batch: Batch, parse: Parse) -> Replayed:
    kind = Kind(batch.kind)
    silver, rejected = lake.table(silver_name(batch.exchange, kind)), lake.table(REJECTED_TABLE)
    frames = _frames(lake, engine, silver, batch)
    if not frames.num_rows:
        return Replayed()
    parsed = parse(frames)
    parsed_figures(kind, frames.num_rows, [parsed])
    places = frames.select(_PLACE)
    rows, days = _into_silver(engine, silver, batch, places, parsed)
    letters = _into_rejected(engine, rejected, batch, places, parsed.rejected)
    return Replayed(frames.num_rows, rows, letters, parsed.rejected.num_rows, days)


def _frames(lake: Lake, engine: Engine, silver: Table, batch: Batch) -> pa.Table:
    """The frames as of what silver has consumed: its next tick parses those that came since."""
    source = bronze_name(batch.exchange, Kind(batch.kind))
    bronze = lake.table(source)
    at = snapshot_at(bronze, consumed(silver).get(source, Consumed()).through)
    if at is None:
        return RAW_FRAME.schema.empty_table()
    files = planned(bronze, RAW_FRAME.schema, _near(batch), at)
    return _of(engine, files, batch.places)


def _into_silver(
    engine: Engine, silver: Table, batch: Batch, places: pa.Table, parsed: Parsed
) -> tuple[int, frozenset[date]]:
    """Bring silver's rows of these frames to those parsed; how many are new, and days touched.

    Mostly there was none of a frame. Where other rows of it were good, they stay where they are if
    they are the same now; if not, they are replaced, and the days computed anew.
    """
    kind = Kind(batch.kind)
    schema, day = kind.record.schema, kind.record.day
    files = planned(silver, schema, _near(batch))
    old = _of(engine, files, places)
    fresh, kept = _split(parsed.rows, old)
    if _same(kept, old):
        mode, add, remove, days = Mode.APPEND, [fresh], Files(schema, ()), fresh[day]
    else:
        mode, add, remove = Mode.RECOMPUTE, [_of(engine, files, places, "not"), parsed.rows], files
        days = pa.chunked_array([*parsed.rows[day].chunks, *old[day].chunks])
    if not fresh.num_rows and mode is Mode.APPEND:
        return 0, frozenset()
    touched = frozenset(distinct_days(days))
    figures = parsed_figures(kind, 0, ()) | {str(kind): fresh.num_rows}
    commit(
        silver,
        add=add,
        remove=remove.files,
        mode=mode,
        days=touched,
        sources=consumed(silver),
        figures=figures,
    )
    return fresh.num_rows, touched


def _into_rejected(
    engine: Engine, rejected: Table, batch: Batch, places: pa.Table, still: pa.Table
) -> int:
    """Replace the letters of these frames by those they give now; how many there were."""
    files = planned(rejected, REJECTED.schema, And(_near(batch), _of_source(batch)))
    old = _of(engine, files, places)
    if not _same(still, old):
        commit(
            rejected,
            add=[pa.concat_tables([_of(engine, files, places, "not"), still])],
            remove=files.files,
            mode=Mode.RECOMPUTE,
            days=[batch.day],
            sources=consumed(rejected),
            figures={"rejected": still.num_rows},
        )
    return old.num_rows


def _of(engine: Engine, files: Files, places: pa.Table, negation: str = "") -> pa.Table:
    columns = ", ".join(f"s.{name}" for name in files.schema.names)
    order = [f"s.{n}" for n in _ROW if n in files.schema.names]
    sql = statement("of_frames").format(columns=columns, negation=negation, order=", ".join(order))
    return engine.query(sql, {"source": files, "places": places}, files.schema)


def _split(parsed: pa.Table, old: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The parsed rows whose places ``old`` lacks, and those whose places it has."""
    names = list(_ROW)
    numbered = parsed.select(names).append_column("row", pa.array(range(len(parsed)), pa.int64()))
    known = numbered.join(old.select(names), names, join_type="left semi")["row"]
    is_known = pc.is_in(numbered["row"], value_set=known.combine_chunks())
    return parsed.filter(pc.invert(is_known)), parsed.filter(is_known)


def _same(one: pa.Table, other: pa.Table) -> bool:
    return bool(one.num_rows == other.num_rows and _in_order(one).equals(_in_order(other)))


def _in_order(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in _ROW]).combine_chunks()


def _near(batch: Batch) -> BooleanExpression:
    """The files that may hold something of these frames: same day of arrival, range of offsets."""
    offsets: Any = pc.min_max(batch.places["kafka_offset"]).as_py()
    within = And(
        GreaterThanOrEqual("kafka_offset", offsets["min"]),
        LessThanOrEqual("kafka_offset", offsets["max"]),
    )
    return And(of_day("ingest_date", batch.day), within)


def _of_source(batch: Batch) -> BooleanExpression:
    return And(EqualTo("exchange", batch.exchange), EqualTo("kind", batch.kind))
