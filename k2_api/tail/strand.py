"""One topic as the tail holds it: the rows of the newest frames, each key once.

A strand belongs to the thread that follows Kafka. What readers get is ``Held``, which never
changes: a new one takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_api.tail.freshness import CATCHING, Standing
from k2_market.kinds import Kind

# Rows of one topic. Measured, a trade takes about 300 bytes.
MAX_ROWS = 100_000
# Ids of rows that are in a table by now: an exchange repeats its newest trades on reconnection.
REMEMBERED = 10_000
# Parts are joined when they become so many, the newest first: most are a tenth of a second's.
PARTS = 16


@dataclass(frozen=True)
class Held:
    """The rows at one moment, in parts; complete from the offsets ``start`` of ``epoch`` on.

    ``first`` and ``last`` are the lowest and the highest timestamp, in microseconds since 1970.
    ``revision`` grows with every change of a strand.
    """

    parts: tuple[pa.Table, ...] = ()
    epoch: int = 0
    start: Mapping[int, int] = field(default_factory=dict)
    standing: Standing = CATCHING
    rows: int = 0
    first: int = 0
    last: int = 0
    revision: int = 0

    def table(self, kind: Kind) -> pa.Table:
        """All rows, in the order in which their frames came."""
        return pa.concat_tables([kind.record.schema.empty_table(), *self.parts])


class Strand:
    """Takes in rows, each key once, and lets go of those that a table has."""

    def __init__(self, kind: Kind, exchange: str, revision: Callable[[], int]) -> None:
        self.kind, self.exchange = kind, exchange
        self._revision = revision
        self.held = Held()
        self.begun = 0
        self._life = ("", "")
        # The ids of rows held, and of some let go, in the order in which they came.
        self._seen: dict[str, None] = {}
        # By partition, up to where frames were taken in before, whatever is held of them now.
        self._taken: dict[int, int] = {}

    def begin(self, life: tuple[str, str], epoch: int, start: Mapping[int, int]) -> None:
        """Hold nothing, and be complete from there on; ``life`` is that of cluster and topic."""
        earlier = any(start.get(p, 0) < offset for p, offset in self.held.start.items())
        self.begun += 1
        if life != self._life or earlier:
            self._seen.clear()
        if life != self._life:
            self._taken.clear()
        self.clear()
        self._life = life
        self.held = Held(epoch=epoch, start=dict(start), revision=self._revision())

    def clear(self) -> None:
        """Hold nothing."""
        for name in self._ids(self.held.table(self.kind)):
            self._seen.pop(name, None)
        self._hold((), self.held.start)

    def add(self, rows: pa.Table) -> pa.Table:
        """Take in rows that came behind all held; those that were never taken in before."""
        places = []
        for place, name in enumerate(self._ids(rows)):
            if name not in self._seen:
                self._seen[name] = None
                places.append(place)
        if len(places) < rows.num_rows:
            rows = rows.take(pa.array(places, pa.int64()))
        if not rows.num_rows:
            return rows
        self._hold((*self.held.parts, rows), self.held.start)
        new = behind(rows, self._taken)
        ends = rows.group_by("kafka_partition").aggregate([("kafka_offset", "max")]).to_pylist()
        for end in ends:
            partition, offset = end["kafka_partition"], end["kafka_offset_max"] + 1
            self._taken[partition] = max(offset, self._taken.get(partition, 0))
        return new

    def drop_behind(self, offsets: Mapping[int, int]) -> None:
        """Let go of the rows of frames before these offsets, which a table has."""
        if all(self.held.start.get(p, 0) >= o for p, o in offsets.items()):
            return
        start = {p: max(o, self.held.start.get(p, 0)) for p, o in offsets.items()}
        parts = [behind(part, offsets) for part in self.held.parts]
        self._hold(tuple(p for p in parts if p.num_rows), {**self.held.start, **start})
        for symbol_and_id in list(self._seen)[: len(self._seen) - self.held.rows - REMEMBERED]:
            del self._seen[symbol_and_id]

    def stand(self, standing: Standing) -> None:
        """Say how the topic is followed."""
        if standing != self.held.standing:
            self.held = replace(self.held, standing=standing)

    def _hold(self, parts: tuple[pa.Table, ...], start: Mapping[int, int]) -> None:
        if len(parts) > PARTS:
            parts = (pa.concat_tables(parts).combine_chunks(),)
        bounds: list[Any] = [
            pc.min_max(part["timestamp"].cast(pa.int64())).as_py() for part in parts
        ]
        self.held = replace(
            self.held,
            parts=parts,
            start=start,
            rows=sum(part.num_rows for part in parts),
            first=min((b["min"] for b in bounds), default=0),
            last=max((b["max"] for b in bounds), default=0),
            revision=self._revision(),
        )

    def _ids(self, rows: pa.Table) -> list[str]:
        cells: list[Any] = [rows["symbol"], rows[self.kind.identifier], "\0"]
        joined: Any = pc.binary_join_element_wise(*cells)
        found: list[str] = joined.to_pylist()
        return found


def behind(rows: pa.Table, offsets: Mapping[int, int]) -> pa.Table:
    """The rows of frames from these offsets on."""
    before: Any = None
    for partition, offset in offsets.items():
        of_it: Any = pc.and_(
            pc.equal(rows["kafka_partition"], pa.scalar(partition, pa.int32())),
            pc.less(rows["kafka_offset"], pa.scalar(offset, pa.int64())),
        )
        before = of_it if before is None else pc.or_(before, of_it)
    if before is None or not pc.any(before, min_count=0).as_py():
        return rows
    return rows.filter(pc.invert(before))


def of_symbols(rows: pa.Table, symbols: Iterable[str]) -> pa.Table:
    """The rows of these symbols."""
    return rows.filter(pc.is_in(rows["symbol"], value_set=pa.array(sorted(symbols), pa.string())))
