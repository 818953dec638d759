"""Where trade ids are missing: the trades around a stretch of ids, and the holes between them.

Within a symbol ids are taken to rise with trade times, but for a few minutes' disorder: so the
neighbours of a trade are found by its time, and gold's files by their statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    GreaterThanOrEqual,
    In,
    LessThanOrEqual,
)
from pyiceberg.table import Table

from k2_lake.engine import Engine, Input, statement
from k2_lake.quality.gap_ledger import Cause, Gap, Hole, State
from k2_lake.scan import Files, planned
from k2_market.exchanges import EXCHANGES
from k2_market.records import TRADE

DISORDER = timedelta(minutes=5)
CONSECUTIVE = sorted(e.name for e in EXCHANGES.values() if e.consecutive_ids)

Key = tuple[str, str]
# When the last of the ids from one to another was received, of those that are there.
ReceivedAt = Callable[[Key], Callable[[int, int], datetime | None]]


@dataclass(frozen=True)
class Extent:
    """A stretch of a symbol's ids, from ``lo`` to ``hi``, and of its trade times."""

    exchange: str
    symbol: str
    lo: int
    hi: int
    earliest: datetime
    latest: datetime

    @property
    def key(self) -> Key:
        """Exchange and symbol."""
        return self.exchange, self.symbol

    def touches(self, gap: Gap) -> bool:
        """Whether the gap lies in the stretch or beside it."""
        return (
            self.key == (gap.exchange, gap.symbol)
            and gap.last_missing_id >= self.lo - 1
            and gap.first_missing_id <= self.hi + 1
        )

    def reaching(self, gaps: Sequence[Gap]) -> Extent:
        """The stretch with these gaps of the symbol and the times of their neighbours."""
        open_ones = [g for g in gaps if g.state != State.REPAIRED]
        return replace(
            self,
            lo=min([self.lo, *(g.first_missing_id for g in open_ones)]),
            hi=max([self.hi, *(g.last_missing_id for g in open_ones)]),
            earliest=min([self.earliest, *(g.before_at for g in open_ones)]),
            latest=max([self.latest, *(g.after_at for g in open_ones)]),
        )


def extents_of(engine: Engine, files: Files, day: date) -> list[Extent]:
    """What the trades of ``day`` in the files span, by symbol, of exchanges whose ids tell."""
    names = ", ".join(f"'{name}'" for name in CONSECUTIVE)
    only = f" and trade_date = date '{day.isoformat()}' and exchange in ({names})"
    sql = statement("gap_extents").format(rows=statement("gap_rows") + only)
    return [Extent(**row) for row in engine.query(sql, {"trades": files}).to_pylist()]


def holes_around(
    engine: Engine, gold: Table, extents: Sequence[Extent]
) -> tuple[list[Hole], ReceivedAt]:
    """All that is missing from the trade before each stretch to the trade behind it."""
    rows = _around(engine, gold, extents)
    found = engine.query(statement("gap_holes"), {"rows": rows}).to_pylist()
    return [_hole(row) for row in found], _received_at(rows)


def _around(engine: Engine, gold: Table, extents: Sequence[Extent]) -> pa.Table:
    windows = [
        replace(e, earliest=e.earliest - DISORDER, latest=e.latest + DISORDER) for e in extents
    ]
    earliest, latest = min(w.earliest for w in windows), max(w.latest for w in windows)
    near = And(
        GreaterThanOrEqual("timestamp", earliest.isoformat()),
        LessThanOrEqual("timestamp", latest.isoformat()),
    )
    files = planned(gold, TRADE.schema, And(_of_symbols(extents), near))
    sql = statement("gap_within").format(rows=statement("gap_rows"))
    rows = engine.query(sql, {"trades": files, "windows": _as_table(windows)})
    ids = _ids(rows)
    below = [w for w in windows if min(ids.get(w.key, [w.lo])) >= w.lo]
    above = [w for w in windows if max(ids.get(w.key, [w.hi])) <= w.hi]
    down = _nearest(engine, gold, below, newest_first=True)
    up = _nearest(engine, gold, above, newest_first=False)
    return pa.concat_tables([rows, *(t.cast(rows.schema) for t in (*down, *up))])


def _nearest(
    engine: Engine, gold: Table, windows: Sequence[Extent], *, newest_first: bool
) -> list[pa.Table]:
    """Of each symbol the trade just outside its window, looked for day by day."""
    wanted = {w.key: w for w in windows}
    if not wanted:
        return []
    if newest_first:
        outside: BooleanExpression = LessThanOrEqual(
            "timestamp", max(w.earliest for w in windows).isoformat()
        )
        beyond, order = "r.last_id < e.lo", "r.last_id desc, r.first_id desc"
    else:
        outside = GreaterThanOrEqual("timestamp", min(w.latest for w in windows).isoformat())
        beyond, order = "r.first_id > e.hi", "r.first_id, r.last_id"
    sql = statement("gap_nearest").format(rows=statement("gap_rows"), beyond=beyond, order=order)
    found: list[pa.Table] = []
    candidates = planned(gold, TRADE.schema, And(_of_symbols(windows), outside))
    for files in _by_day(candidates, newest_first):
        inputs: dict[str, Input] = {"trades": files, "edges": _as_table(list(wanted.values()))}
        rows = engine.query(sql, inputs)
        found.append(rows)
        for row in rows.to_pylist():
            del wanted[row["exchange"], row["symbol"]]
        if not wanted:
            break
    return found


def _by_day(files: Files, newest_first: bool) -> list[Files]:
    def day(file: Any) -> Any:
        return file.partition[0]

    ordered = sorted(files.files, key=day, reverse=newest_first)
    return [files.only(group) for _, group in groupby(ordered, day)]


def _of_symbols(extents: Sequence[Extent]) -> BooleanExpression:
    return And(
        In("exchange", sorted({e.exchange for e in extents})),
        In("symbol", sorted({e.symbol for e in extents})),
    )


def _as_table(extents: Sequence[Extent]) -> pa.Table:
    return pa.Table.from_pylist([vars(e) for e in extents])


def _ids(rows: pa.Table) -> Mapping[Key, tuple[int, int]]:
    """The first and the last id of each symbol."""
    bounds: Any = [("first_id", "min"), ("last_id", "max")]
    grouped = rows.group_by(["exchange", "symbol"]).aggregate(bounds)
    return {
        (row["exchange"], row["symbol"]): (row["first_id_min"], row["last_id_max"])
        for row in grouped.to_pylist()
    }


def _received_at(rows: pa.Table) -> ReceivedAt:
    by_symbol: dict[Key, list[tuple[int, int, datetime]]] = {}
    columns = ("exchange", "symbol", "first_id", "last_id", "ingestion_timestamp")

    def of_symbol(key: Key) -> Callable[[int, int], datetime | None]:
        def latest(first: int, last: int) -> datetime | None:
            if not by_symbol:
                for row in zip(*(rows[c].to_pylist() for c in columns), strict=True):
                    by_symbol.setdefault((row[0], row[1]), []).append(row[2:])
            of_ids = (at for lo, hi, at in by_symbol.get(key, ()) if hi >= first and lo <= last)
            return max(of_ids, default=None)

        return latest

    return of_symbol


def _hole(row: Mapping[str, Any]) -> Hole:
    facts = ("exchange", "symbol", "first_missing_id", "last_missing_id", "before_at", "after_at")
    earlier, later = sorted((row["before_ingested"], row["after_ingested"]))
    return Hole(
        **{name: row[name] for name in facts},
        cause=Cause.UNKNOWN.value,
        state=State.OPEN.value,
        detected_at=later,
        before=_place(row, "before"),
        after=_place(row, "after"),
        received=(earlier, later),
    )


def _place(row: Mapping[str, Any], side: str) -> tuple[int, int, int]:
    return row[f"{side}_epoch"], row[f"{side}_partition"], row[f"{side}_offset"]
