"""What is counted of a day: rows, gaps, rejected rows and connections, by instrument."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from pyiceberg.expressions import (
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    In,
    LessThan,
    LessThanOrEqual,
)
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.engine import Engine, statement
from k2_lake.quality.gap_ledger import State
from k2_lake.quality.gaps import recorded_gaps
from k2_lake.retained import retained
from k2_lake.scan import Files, of_day, planned
from k2_lake.tables import GAPS_TABLE, REJECTED_TABLE, bronze_name
from k2_market.conditions import DayFigures, Instrumented
from k2_market.instruments import canonical_symbol
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME, REJECTED
from k2_market.timeframes import day_bounds

Figures = dict[Instrumented, DayFigures]


@dataclass(frozen=True)
class Heard:
    """A connection on a day: when it was heard and how many of its frames are missing."""

    first_at: datetime
    last_at: datetime
    lost: int


def rows_of_day(engine: Engine, gold: Table, kind: Kind, day: date) -> Figures:
    """Rows, times and silences of everything that gold has of the day."""
    files = planned(gold, kind.record.schema, of_day(kind.record.day, day))
    if not files.files:
        return {}
    sql = statement("day_rows").format(day_column=kind.record.day, day=day.isoformat())
    return {
        Instrumented(row["exchange"], row["symbol"], kind): DayFigures(
            rows=row["n"],
            longest_silence_us=row["longest_silence_us"],
            first_at=row["first_at"],
            last_at=row["last_at"],
        )
        for row in engine.query(sql, {"gold": files}).to_pylist()
    }


def counted(
    lake: Lake, engine: Engine, kind: Kind, day: date, instruments: Figures, before: Figures
) -> Figures:
    """The same with gaps, rejected rows and connections of these instruments.

    What is counted in a table that has dropped the day by now stays as it was counted ``before``.
    """
    found = dict(instruments)
    if kind is Kind.TRADES:
        found = _with_gaps(lake, engine, day, found, before)
    for exchange in {what.exchange for what in found}:
        part = {what: figures for what, figures in found.items() if what.exchange == exchange}
        part = _with_rejected(lake, engine, exchange, kind, day, part, before)
        found |= _with_connections(lake, engine, exchange, kind, day, part, before)
    return found


def disconnects(heard: Iterable[Heard]) -> int:
    """How often nothing was connected between two connections.

    Where one replaces another as planned, both are heard for a while.
    """
    count, until = 0, None
    for each in sorted(heard, key=lambda h: h.first_at):
        count += until is not None and each.first_at > until
        until = each.last_at if until is None else max(until, each.last_at)
    return count


def _with_gaps(lake: Lake, engine: Engine, day: date, figures: Figures, before: Figures) -> Figures:
    if not retained(lake.table(GAPS_TABLE)).holds(day):
        return _as_before(figures, before, "gaps", "missing_ids")
    start, end = day_bounds(day)
    standing = In("state", [State.OPEN.value, State.UNREPAIRABLE.value])
    reaching = And(
        LessThan("before_at", end.isoformat()), GreaterThanOrEqual("after_at", start.isoformat())
    )
    found = dict(figures)
    for gap in recorded_gaps(lake, engine, And(standing, reaching)):
        what = Instrumented(gap.exchange, gap.symbol, Kind.TRADES)
        meant = gap.state != State.REPAIRED and gap.before_at < end and gap.after_at >= start
        if what in found and meant:
            so_far = found[what]
            found[what] = replace(
                so_far, gaps=so_far.gaps + 1, missing_ids=so_far.missing_ids + gap.missing
            )
    return found


def _with_rejected(
    lake: Lake,
    engine: Engine,
    exchange: str,
    kind: Kind,
    day: date,
    figures: Figures,
    before: Figures,
) -> Figures:
    """With those of each symbol, and those whose symbol cannot be told or is none of these."""
    table = lake.table(REJECTED_TABLE)
    if not retained(table).holds(day):
        return _as_before(figures, before, "rejected")
    of_kind = And(of_day(REJECTED.day, day, [exchange]), EqualTo("kind", str(kind)))
    rejected = planned(table, REJECTED.schema, of_kind)
    if not rejected.files:
        return figures
    sql = statement("day_rejected").format(exchange=exchange, kind=kind, day=day.isoformat())
    frames = _frames(lake, engine, exchange, kind, day, rejected)
    own: dict[Instrumented, int] = defaultdict(int)
    untold = 0
    for row in engine.query(sql, {"rejected": rejected, "frames": frames}).to_pylist():
        what = Instrumented(exchange, _canonical(row["exchange_symbol"]) or "", kind)
        if what in figures:
            own[what] += row["n"]
        else:
            untold += row["n"]
    return {what: replace(f, rejected=own[what] + untold) for what, f in figures.items()}


def _frames(
    lake: Lake, engine: Engine, exchange: str, kind: Kind, day: date, rejected: Files
) -> Files:
    """The frames that these rejected rows are of, as files that may hold more."""
    [offsets] = engine.query(
        "select min(kafka_offset) as first, max(kafka_offset) as last from rejected",
        {"rejected": rejected},
    ).to_pylist()
    where: BooleanExpression = And(
        of_day(RAW_FRAME.day, day),
        And(
            GreaterThanOrEqual("kafka_offset", offsets["first"]),
            LessThanOrEqual("kafka_offset", offsets["last"]),
        ),
    )
    return planned(lake.table(bronze_name(exchange, kind)), RAW_FRAME.schema, where)


def _with_connections(
    lake: Lake,
    engine: Engine,
    exchange: str,
    kind: Kind,
    day: date,
    figures: Figures,
    before: Figures,
) -> Figures:
    """With the live connections that each symbol came by.

    A connection is heard in all of its frames, of whatever symbol: a quiet symbol is none that was
    disconnected.
    """
    table = lake.table(bronze_name(exchange, kind))
    if not retained(table).holds(day):
        return _as_before(figures, before, "connections", "disconnects", "lost_frames")
    files = planned(table, RAW_FRAME.schema, of_day(RAW_FRAME.day, day))
    if not files.files:
        return figures
    sql = statement("day_connections").format(day=day.isoformat())
    rows = engine.query(sql, {"frames": files}).to_pylist()
    heard, came_by = _heard(rows), defaultdict[str | None, list[Heard]](list)
    for row in rows:
        came_by[_canonical(row["exchange_symbol"])].append(heard[row["connection_id"]])
    return {
        what: replace(
            f,
            connections=len(came_by[what.symbol]),
            disconnects=disconnects(came_by[what.symbol]),
            lost_frames=sum(each.lost for each in came_by[what.symbol]),
        )
        for what, f in figures.items()
    }


def _as_before(figures: Figures, before: Figures, *names: str) -> Figures:
    old = {what: before.get(what, DayFigures()) for what in figures}
    return {
        what: replace(f, **{name: getattr(old[what], name) for name in names})
        for what, f in figures.items()
    }


def _heard(rows: Iterable[Mapping[str, Any]]) -> dict[int, Heard]:
    by_connection: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_connection[row["connection_id"]].append(row)
    return {
        connection: Heard(
            min(r["first_at"] for r in of),
            max(r["last_at"] for r in of),
            max(r["last_sequence"] for r in of)
            - min(r["first_sequence"] for r in of)
            + 1
            - sum(r["frames"] for r in of),
        )
        for connection, of in by_connection.items()
    }


def _canonical(exchange_symbol: str | None) -> str | None:
    return None if exchange_symbol is None else canonical_symbol(exchange_symbol)
