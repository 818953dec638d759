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
from k2_lake.gap_ledger import State
from k2_lake.gaps import recorded_gaps
from k2_lake.scan import Files, of_day, planned
from k2_lake.tables import REJECTED_TABLE, bronze_name
from k2_market.conditions import DayFigures, Instrumented
from k2_market.exchanges import EXCHANGES
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


def counted(lake: Lake, engine: Engine, kind: Kind, day: date, instruments: Figures) -> Figures:
    """The same with gaps, rejected rows and connections of these instruments."""
    found = dict(instruments)
    if kind is Kind.TRADES:
        found = _with_gaps(lake, engine, day, found)
    for exchange in EXCHANGES:
        symbols = {what.symbol for what in found if what.exchange == exchange}
        if not symbols:
            continue
        rejected = _rejected(lake, engine, exchange, kind, day, symbols)
        by_symbol = _connections(lake, engine, exchange, kind, day)
        for symbol in symbols:
            what = Instrumented(exchange, symbol, kind)
            heard = by_symbol.get(symbol, [])
            found[what] = replace(
                found[what],
                rejected=rejected[symbol],
                connections=len(heard),
                disconnects=disconnects(heard),
                lost_frames=sum(each.lost for each in heard),
            )
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


def _with_gaps(lake: Lake, engine: Engine, day: date, figures: Figures) -> Figures:
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


def _rejected(
    lake: Lake, engine: Engine, exchange: str, kind: Kind, day: date, symbols: set[str]
) -> Mapping[str, int]:
    """By symbol: its own, and those whose symbol cannot be told or is none of these."""
    of_kind = And(of_day(REJECTED.day, day, [exchange]), EqualTo("kind", str(kind)))
    rejected = planned(lake.table(REJECTED_TABLE), REJECTED.schema, of_kind)
    if not rejected.files:
        return defaultdict(int)
    sql = statement("day_rejected").format(exchange=exchange, kind=kind, day=day.isoformat())
    frames = _frames(lake, engine, exchange, kind, day, rejected)
    own: dict[str, int] = defaultdict(int)
    untold = 0
    for row in engine.query(sql, {"rejected": rejected, "frames": frames}).to_pylist():
        symbol = _canonical(row["exchange_symbol"])
        if symbol in symbols:
            own[str(symbol)] += row["n"]
        else:
            untold += row["n"]
    return {symbol: own[symbol] + untold for symbol in symbols}


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


def _connections(
    lake: Lake, engine: Engine, exchange: str, kind: Kind, day: date
) -> Mapping[str, list[Heard]]:
    """By symbol, the live connections that it came by.

    A connection is heard in all of its frames, of whatever symbol: a quiet symbol is none that was
    disconnected.
    """
    table = lake.table(bronze_name(exchange, kind))
    files = planned(table, RAW_FRAME.schema, of_day(RAW_FRAME.day, day))
    if not files.files:
        return {}
    sql = statement("day_connections").format(day=day.isoformat())
    rows = engine.query(sql, {"frames": files}).to_pylist()
    heard = _heard(rows)
    found: dict[str, list[Heard]] = defaultdict(list)
    for row in rows:
        symbol = _canonical(row["exchange_symbol"])
        if symbol is not None:
            found[symbol].append(heard[row["connection_id"]])
    return found


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
