"""What one state of a table lacks, as the tail held it at one moment: it never changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_api.tail.freshness import Freshness, Standing, freshness
from k2_api.tail.seams import Joints
from k2_api.tail.strand import Held, behind, of_symbols
from k2_lake.retained import Retained
from k2_lake.travel.seam import Seam
from k2_market.kinds import Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
MOVED_ON = "the table moved on while it was asked, and the tail with it; ask again"


@dataclass(frozen=True)
class Piece:
    """What is held of one exchange, and from which offsets on the table may lack it."""

    held: Held
    offsets: Mapping[int, int]


@dataclass(frozen=True)
class TailView:
    """Rows beyond the seam of one state of a table.

    Every row that came up to ``freshness.through`` is in the table or among these. Some may be in
    both, for days of the table run ahead of each other and exchanges repeat themselves: whoever
    joins the two takes of the same key the table's.
    """

    kind: Kind
    freshness: Freshness
    pieces: Mapping[str, Piece]
    retained: Retained

    @property
    def revision(self) -> int:
        """Differs from that of any other view with other rows; 0 where there can be none."""
        return max((p.held.revision for p in self.pieces.values()), default=0)

    def touches(self, start: datetime | None = None, end: datetime | None = None) -> bool:
        """Whether rows may lie in [start, end); takes microseconds."""
        return bool(self._near(start, end))

    def rows(
        self,
        symbols: Collection[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """The rows with a timestamp in [start, end), in the order in which they came."""
        empty = self.kind.record.schema.empty_table()
        near = self._near(start, end)
        parts = [
            _within(behind(part, p.offsets), start, end) for p in near for part in p.held.parts
        ]
        found = pa.concat_tables([empty, *parts])
        return self._kept(found if symbols is None else of_symbols(found, symbols))

    def recent(self) -> pa.Table:
        """All that is held, with what the table took in within the last seconds."""
        empty = self.kind.record.schema.empty_table()
        parts = [part for p in self.pieces.values() for part in p.held.parts]
        return self._kept(pa.concat_tables([empty, *parts]))

    def trades(self, symbol: str) -> bool:
        """Whether there is a row of that symbol."""
        return bool(self.rows([symbol]).num_rows)

    def _near(self, start: datetime | None, end: datetime | None) -> list[Piece]:
        first = None if start is None else _micros(start)
        until = None if end is None else _micros(end)
        return [
            p
            for p in self.pieces.values()
            if p.held.rows
            and (first is None or p.held.last >= first)
            and (until is None or p.held.first < until)
        ]

    def _kept(self, rows: pa.Table) -> pa.Table:
        """Without the days that the table dropped because of their age: it will not take them."""
        if self.retained.start is None or not rows.num_rows:
            return rows
        column = rows[self.kind.record.day]
        days: list[Any] = column.unique().to_pylist()
        held = pa.array([day for day in days if self.retained.holds(day)], pa.date32())
        return rows.filter(pc.is_in(column, value_set=held))


def opened_view(
    kind: Kind, joints: Joints | None, held: Mapping[str, Held], now: datetime
) -> TailView:
    """The view of a state with these joints, None where they are not known."""
    standings, pieces = {}, {}
    for exchange, its in held.items():
        standing, offsets = its.standing, _offsets(joints, exchange, its)
        if offsets is None and standing.trouble is None:
            standing = Standing(MOVED_ON)
        elif offsets is not None and standing.trouble_at(now) is None:
            pieces[exchange] = Piece(its, offsets)
        standings[exchange] = standing
    kept = Retained() if joints is None else joints.retained
    return TailView(kind, freshness(standings, now), pieces, kept)


def _offsets(joints: Joints | None, exchange: str, held: Held) -> Mapping[int, int] | None:
    """From where on the state may lack frames, None where the tail holds too little for it."""
    seam = None if joints is None else joints.seams[exchange]
    if not isinstance(seam, Seam):
        return None
    at = {} if seam.at is None or seam.at.epoch != held.epoch else seam.at.offsets
    return at if all(at.get(p, 0) >= offset for p, offset in held.start.items()) else None


def _within(rows: pa.Table, start: datetime | None, end: datetime | None) -> pa.Table:
    column = rows["timestamp"]
    if start is not None:
        rows = rows.filter(pc.greater_equal(column, pa.scalar(start, column.type)))
        column = rows["timestamp"]
    if end is not None:
        rows = rows.filter(pc.less(column, pa.scalar(end, column.type)))
    return rows


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
