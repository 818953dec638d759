"""What the API asks of the tables: a page of rows by key, and the state of all tables.

A query is planned with Iceberg's pruning (day, exchange, symbol, time) and the filter is repeated
on the rows. Values are bound; only names of columns, all from the records, stand in the SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, reduce
from math import ceil
from typing import Any

import msgspec
import pyarrow as pa
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    LessThan,
)

from k2_api.questions import cursor as cursors
from k2_api.questions.parameters import RangeParameters
from k2_api.reading.reader import LakeReader, Pinned, pinned, read_from
from k2_api.reading.symbols import Listing, SymbolIndex, require_exchange
from k2_lake.quality.freshness import SLO_S, Freshness
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.records import CANDLE, TRADE, Record
from k2_market.timeframes import day_bounds, timeframe

DEFAULT_WINDOWS = 1_000
# Plans are made for whole hours, so that a question that moves with the clock finds them kept.
PLAN_STEP = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Feed:
    """A table that is read by time: its record and the columns that order its rows."""

    table: str
    record: Record
    order: tuple[str, ...]
    days_before: int
    """How many days before the newest one a range begins by default."""

    @property
    def time(self) -> str:
        """The column of the instant that start and end speak of."""
        return self.order[2]


@dataclass(frozen=True)
class Page:
    """Rows as JSON texts, and how to go on."""

    rows: list[str]
    feed: Feed
    snapshot_id: int | None
    start: datetime | None
    end: datetime | None
    next_cursor: str | None


@dataclass(frozen=True)
class _Range:
    exchange: str | None
    symbol: str | None
    start: datetime | None
    end: datetime | None
    after: cursors.Cursor | None


TRADES = Feed(
    TRADES_TABLE,
    TRADE,
    ("exchange", "symbol", "timestamp", "source_sequence", "trade_id"),
    days_before=0,
)


def candles(name: str) -> Feed:
    """The candles of that timeframe. Raises UnknownName."""
    length = timeframe(name.lower()).length
    days = ceil(DEFAULT_WINDOWS * length / DAY)
    order = ("exchange", "symbol", "window_start")
    return Feed(candle_name(name.lower()), CANDLE, order, days_before=days - 1)


def page(reader: LakeReader, index: SymbolIndex, feed: Feed, asked: RangeParameters) -> Page:
    """One page of ``feed``. Raises UsageError, UnknownName, LakeUnavailable."""
    after = _after(feed, asked)
    table = reader.table(feed.table)
    at = pinned(table, asked.as_of, None if after is None else after.snapshot)
    listing = index.listing() if at is None else index.listing_at(feed.table, table, at)
    wanted = _range(listing, feed, asked, after)
    files = reader.plan(feed.table, table, *_pruning(feed, wanted), at)
    where, values = _condition(feed, wanted)
    order = ", ".join(feed.order)
    sql = (
        # Only the rows of the page are made into JSON: as one select, all rows of the range were.
        f"select {row_json(feed.record)} from "
        f"(select * from {{rows}} where {where} order by {order} limit $limit) order by {order}"
    )
    found = [str(r[0]) for r in reader.run(sql, files, {**values, "limit": asked.limit + 1}, table)]
    rows = found[: asked.limit]
    more = len(found) > asked.limit
    return Page(
        rows,
        feed,
        read_from(table, at),
        wanted.start,
        wanted.end,
        _cursor_behind(feed, asked, wanted, rows[-1], at) if more else None,
    )


def _after(feed: Feed, asked: RangeParameters) -> cursors.Cursor | None:
    """Where the page before ended, and what it was read from."""
    if asked.cursor is None:
        return None
    return cursors.decode(asked.cursor, _question(feed, asked), ties=len(feed.order) > 3)


def _range(
    listing: Listing, feed: Feed, asked: RangeParameters, after: cursors.Cursor | None
) -> _Range:
    exchange = require_exchange(asked.exchange)
    symbol = None if asked.symbol is None else listing.resolve(asked.symbol, exchange)
    start, end = asked.start_at, asked.end_at
    if after is not None:
        return _Range(exchange, symbol, after.start_at, end, after)
    if start is None:
        days = [i.last for i in listing.matching(exchange, symbol)]
        start = _default_start(max(days, default=None), end, feed.days_before)
    return _Range(exchange, symbol, start, end, None)


def _default_start(newest: date | None, end: datetime | None, days: int) -> datetime | None:
    """Midnight of the newest day with trades, or of the last before ``end``, less ``days``."""
    if newest is None:
        return None
    if end is not None:
        newest = min(newest, (end.astimezone(UTC) - timedelta(microseconds=1)).date())
    return day_bounds(newest - timedelta(days=days))[0]


def _question(feed: Feed, asked: RangeParameters) -> str:
    """What a cursor belongs to: everything that was asked but the size of a page."""
    parts = (feed.table, asked.exchange, asked.symbol, asked.start, asked.end, asked.as_of)
    return msgspec.json.encode(parts).decode()


def _cursor_behind(
    feed: Feed, asked: RangeParameters, wanted: _Range, row: str, at: Pinned | None
) -> str:
    last = msgspec.json.decode(row)
    key = [last[c] for c in feed.order]
    key[2] = datetime.fromisoformat(key[2])
    snapshot = None if at is None else at.snapshot_id
    return cursors.encode(cursors.after(wanted.start, key, snapshot), _question(feed, asked))


def _pruning(feed: Feed, wanted: _Range) -> tuple[BooleanExpression, Sequence[object]]:
    """The filter for planning, and its key: whole hours around the range."""
    start, end = wanted.start, wanted.end
    if wanted.after is not None and wanted.exchange and wanted.symbol:
        start = wanted.after.key[2]  # type: ignore[assignment]
    start = None if start is None else _floor(start)
    end = None if end is None else _floor(end) + PLAN_STEP
    parts: list[BooleanExpression] = [AlwaysTrue()]
    if wanted.exchange:
        parts.append(EqualTo("exchange", wanted.exchange))
    if wanted.symbol:
        parts.append(EqualTo("symbol", wanted.symbol))
    if start is not None:
        parts.append(GreaterThanOrEqual(feed.record.day, start.date()))
        parts.append(GreaterThanOrEqual(feed.time, start.isoformat()))
    if end is not None:
        parts.append(LessThan(feed.record.day, (end + DAY).date()))
        parts.append(LessThan(feed.time, end.isoformat()))
    return reduce(And, parts), (feed.table, wanted.exchange, wanted.symbol, start, end)


def _floor(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _condition(feed: Feed, wanted: _Range) -> tuple[str, dict[str, object]]:
    """The condition on rows, and the values of its parameters."""
    terms: dict[str, object] = {}
    parts = ["true"]
    for name, comparison, value in (
        ("exchange", "exchange =", wanted.exchange),
        ("symbol", "symbol =", wanted.symbol),
        ("start", f"{feed.time} >=", wanted.start),
        ("end", f"{feed.time} <", wanted.end),
    ):
        if value is not None:
            parts.append(f"{comparison} ${name}")
            terms[name] = value
    if wanted.after is not None:
        names = [f"after_{c}" for c in feed.order]
        terms.update(zip(names, wanted.after.key, strict=True))
        parts.append(f"exchange >= ${names[0]}")
        parts.append(f"({', '.join(feed.order)}) > ({', '.join('$' + n for n in names)})")
    return " and ".join(parts), terms


@cache
def row_json(record: Record) -> str:
    """The SQL that makes a row one JSON object, decimals and times as text, nothing rounded."""
    fields = ", ".join(f"'{f.name}': {_json_value(f.name, f.type)}" for f in record.schema)
    return f"to_json({{{{{fields}}}}})"


def _json_value(column: str, kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"{column}::varchar"
    if pa.types.is_timestamp(kind):
        return f"strftime({column}::timestamp, '%Y-%m-%dT%H:%M:%S.%fZ')"
    return column


def health(
    reader: LakeReader, names: Sequence[str], lags: Mapping[str, Freshness]
) -> list[dict[str, Any]]:
    """Snapshot, time, rows and lag of these tables, by their metadata. Raises LakeUnavailable."""
    found = reader.tables()
    states = []
    for name in names:
        head = found[name].current_snapshot() if name in found else None
        summary = {} if head is None or head.summary is None else head.summary.additional_properties
        states.append(
            {
                "name": name,
                "snapshot_id": None if head is None else str(head.snapshot_id),
                "committed_at": None if head is None else _from_millis(head.timestamp_ms),
                "rows": int(summary.get("total-records", 0)),
                "lag_seconds": round(lags[name].lag_s, 1) if name in lags else None,
                "slo_seconds": SLO_S.get(name),
            }
        )
    return states


def _from_millis(millis: int) -> datetime:
    return cursors.EPOCH + timedelta(milliseconds=millis)
