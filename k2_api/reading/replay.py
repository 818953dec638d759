"""Rows of several channels in the order in which they were received, page by page.

The order is total: time of receipt, exchange, channel, and the place in Kafka. So a page ends
behind a row, whatever its neighbours are, and the next one begins with the row after it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from itertools import groupby
from typing import Any

import msgspec
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    GreaterThanOrEqual,
    In,
    LessThan,
)
from pyiceberg.table import Table

from k2_api.answers.messages import rows_message, told
from k2_api.questions.cursor import EPOCH
from k2_api.questions.parameters import names
from k2_api.questions.replay import ReplayParameters
from k2_api.questions.sealed import seal, unseal
from k2_api.reading.reader import LakeReader, Pinned, pinned, read_from
from k2_api.reading.statements import PLAN_STEP, row_json
from k2_api.reading.symbols import Listing, Symbols, require_exchange
from k2_lake.tables import gold_name
from k2_market.errors import UnknownName, UsageError
from k2_market.instants import instant
from k2_market.kinds import Kind

PLACE = ("epoch", "kafka_partition", "kafka_offset", "frame_index")
ROWS_IN_MESSAGE = 500

Place = tuple[int, int, int, int]


class Behind(msgspec.Struct, frozen=True, array_like=True):
    """The key of the row that a message ended with, and what the pages are read from."""

    received: int
    exchange: str
    channel: str
    place: Place
    snapshots: dict[str, int] | None = None


@dataclass(frozen=True)
class Received:
    """A row as JSON text with the key that orders it; ``received`` is in us since 1970 UTC."""

    received: int
    exchange: str
    channel: str
    place: Place
    symbol: str
    row: str

    @property
    def key(self) -> tuple[int, str, str, Place]:
        """What orders rows of all channels."""
        return (self.received, self.exchange, self.channel, self.place)


@dataclass(frozen=True)
class _Asked:
    channels: Sequence[Kind]
    exchanges: Sequence[str] | None
    symbols: Sequence[str] | None
    start: datetime
    end: datetime | None
    after: Behind | None


@dataclass(frozen=True)
class _State:
    """A table and the state of it that is read; None for as it is now."""

    table: Table | None
    at: Pinned | None


def replay(reader: LakeReader, known: Symbols, parameters: ReplayParameters) -> Iterator[str]:
    """The messages of a page, the last one saying whether more follows.

    Raises UsageError, UnknownName, LakeUnavailable; nothing once the first message is out.
    """
    asked = _asked(known, parameters)
    states = {kind: _state(reader, kind, parameters, asked.after) for kind in asked.channels}
    found = [_rows(reader, kind, states[kind], asked, parameters.limit) for kind in asked.channels]
    merged = list(heapq.merge(*found, key=lambda row: row.key))
    held = _snapshots(states) if parameters.as_of is not None else None
    rows = merged[: parameters.limit]
    return _messages(rows, parameters, held, has_more=len(merged) > len(rows))


def _asked(known: Symbols, parameters: ReplayParameters) -> _Asked:
    start = instant("start", parameters.start)
    end = None if parameters.end is None else instant("end", parameters.end)
    if end is not None and start >= end:
        raise UsageError(
            f"end: {parameters.end!r} is not after start {parameters.start!r}. "
            "The range is start inclusive to end exclusive."
        )
    after = None if parameters.cursor is None else _decoded(parameters.cursor, parameters.question)
    channels = sorted({_channel(name) for name in names("channels", parameters.channels)})
    exchanges = _exchanges(parameters.exchange)
    return _Asked(channels, exchanges, _symbols(known, parameters, exchanges), start, end, after)


def _channel(name: str) -> Kind:
    if name not in list(Kind):
        raise UnknownName("channel", name, list(Kind))
    return Kind(name)


def _exchanges(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return sorted({require_exchange(name) for name in names("exchange", text)})


def _symbols(
    known: Symbols, parameters: ReplayParameters, exchanges: Sequence[str] | None
) -> list[str] | None:
    if parameters.symbol is None:
        return None
    # Some exchanges have only trades, some symbols only quotes of some day: either will do.
    listings = [known.listing(gold_name(kind)) for kind in Kind]
    return sorted(
        {_resolved(name, listings, exchanges or ()) for name in names("symbol", parameters.symbol)}
    )


def _resolved(name: str, listings: Sequence[Listing], exchanges: Sequence[str]) -> str:
    *others, last = listings
    for listing in others:
        try:
            return listing.resolve(name, exchanges)
        except UnknownName:
            continue
    return last.resolve(name, exchanges)


def _decoded(text: str, question: str) -> Behind:
    try:
        return msgspec.json.decode(unseal(text, question) or b"", type=Behind)
    except msgspec.MsgspecError:
        raise UsageError(
            "cursor: this is not a cursor of this replay. Send the cursor of a message unchanged, "
            "with the same channels, exchange, symbol, start, end and as_of as before; or leave it "
            "out to begin anew."
        ) from None


def _state(
    reader: LakeReader, kind: Kind, parameters: ReplayParameters, after: Behind | None
) -> _State:
    table = reader.table(gold_name(kind))
    snapshots = None if after is None else after.snapshots
    snapshot = None if snapshots is None else snapshots.get(str(kind))
    return _State(table, pinned(table, parameters.as_of, snapshot))


def _snapshots(states: dict[Kind, _State]) -> dict[str, int]:
    read = {str(kind): read_from(s.table, s.at) for kind, s in states.items()}
    return {kind: snapshot for kind, snapshot in read.items() if snapshot is not None}


def _rows(
    reader: LakeReader, kind: Kind, state: _State, asked: _Asked, limit: int
) -> list[Received]:
    """The first rows of a channel behind the cursor, one more than a page holds."""
    files = reader.plan(gold_name(kind), state.table, *_pruning(kind, asked), state.at)
    where, values = _condition(kind, asked)
    order = ", ".join(("ingestion_timestamp", "exchange", *PLACE))
    text = row_json(kind.record, tuple(kind.record.columns))
    sql = (
        f"select epoch_us(ingestion_timestamp), exchange, {', '.join(PLACE)}, symbol, {text} from "
        f"(select * from {{rows}} where {where} order by {order} limit $limit) order by {order}"
    )
    rows: Iterable[Any] = reader.run(sql, files, {**values, "limit": limit + 1}, state.table)
    return [Received(r[0], r[1], str(kind), r[2:6], r[6], str(r[7])) for r in rows]


def _pruning(kind: Kind, asked: _Asked) -> tuple[BooleanExpression, Sequence[object]]:
    """The filter for planning, and its key: whole hours around the range."""
    start = asked.start
    if asked.after is not None:
        start = max(start, _instant(asked.after.received))
    start = start.replace(minute=0, second=0, microsecond=0)
    end = asked.end
    if end is not None:
        end = end.replace(minute=0, second=0, microsecond=0) + PLAN_STEP
    parts: list[BooleanExpression] = [GreaterThanOrEqual("ingestion_timestamp", start.isoformat())]
    if end is not None:
        parts.append(LessThan("ingestion_timestamp", end.isoformat()))
    if asked.exchanges is not None:
        parts.append(In("exchange", asked.exchanges))
    if asked.symbols is not None:
        parts.append(In("symbol", asked.symbols))
    exchanges, symbols = tuple(asked.exchanges or ()), tuple(asked.symbols or ())
    return reduce(And, parts), ("replay", str(kind), exchanges, symbols, start, end)


def _condition(kind: Kind, asked: _Asked) -> tuple[str, dict[str, object]]:
    """The condition on rows, and the values of its parameters."""
    parts, values = ["ingestion_timestamp >= $start"], dict[str, object](start=asked.start)
    if asked.end is not None:
        parts.append("ingestion_timestamp < $end")
        values["end"] = asked.end
    for column, wanted in (("exchange", asked.exchanges), ("symbol", asked.symbols)):
        if wanted is not None:
            bound: dict[str, object] = {f"{column}_{n}": name for n, name in enumerate(wanted)}
            parts.append(f"{column} in ({', '.join('$' + b for b in bound)})")
            values.update(bound)
    if asked.after is not None:
        condition, bound = _behind(kind, asked.after)
        parts.append(condition)
        values.update(bound)
    return " and ".join(parts), values


def _behind(kind: Kind, after: Behind) -> tuple[str, dict[str, object]]:
    """The condition for the rows of a channel that follow the key."""
    values: dict[str, Any] = {
        "after_received": _instant(after.received),
        "after_exchange": after.exchange,
    }
    columns = ["ingestion_timestamp", "exchange"]
    if str(kind) == after.channel:
        columns += PLACE
        values |= {f"after_{c}": v for c, v in zip(PLACE, after.place, strict=True)}
    # Of the same instant and exchange, all of a channel that is later in the order is to come.
    comparison = ">=" if str(kind) > after.channel else ">"
    bound = ", ".join(f"${name}" for name in values)
    return f"({', '.join(columns)}) {comparison} ({bound})", values


def _messages(
    rows: Sequence[Received],
    parameters: ReplayParameters,
    snapshots: dict[str, int] | None,
    *,
    has_more: bool,
) -> Iterator[str]:
    def cursor(row: Received) -> str:
        behind = Behind(row.received, row.exchange, row.channel, row.place, snapshots)
        return seal(msgspec.json.encode(behind), parameters.question)

    for (channel, exchange, symbol), same in groupby(
        rows, lambda row: (row.channel, row.exchange, row.symbol)
    ):
        run = list(same)
        for first in range(0, len(run), ROWS_IN_MESSAGE):
            part = run[first : first + ROWS_IN_MESSAGE]
            texts = [row.row for row in part]
            yield rows_message(channel, exchange, symbol, texts, cursor(part[-1]))
    last = cursor(rows[-1]) if rows else parameters.cursor
    yield told("end", has_more=has_more, cursor=last)


def _instant(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)
