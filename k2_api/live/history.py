"""What came after a position, from the table and the tail: where a stream resumes.

Rows come in the order of Kafka, each key once. All calls block and are for threads; they raise
LakeUnavailable or a Refusal.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    Or,
)
from pyiceberg.table import Table

from k2_api.guard.refusals import Refusal
from k2_api.live.messages import Row
from k2_api.live.places import END_OF_FRAME, PLACE, Place, Position
from k2_api.live.source import Freshness, Source
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import row_json
from k2_lake.bronze import position
from k2_lake.engine import Input
from k2_lake.scan import Files
from k2_lake.tables import bronze_name, gold_name, silver_name
from k2_market.errors import LakeUnavailable
from k2_market.kinds import Kind

# Plans are made for offsets of whole thousands, so that those who resume together share one.
_OFFSETS = 1_000
# What may pass by itself: streams try again, and lose nothing meanwhile.
LATER = (LakeUnavailable, Refusal)
_MINUTE_US = 60_000_000


@dataclass(frozen=True)
class Wanted:
    """The rows of some symbols of a topic; the range is of the time of receipt."""

    kind: Kind
    exchange: str
    symbols: frozenset[str]
    received_from: datetime | None = None
    received_before: datetime | None = None


@dataclass(frozen=True)
class Found:
    """Rows in order. ``whole``: there are no others up to now that Kafka has.

    ``passed`` are the places of all that was looked at, repeats included.
    """

    rows: Sequence[Row]
    passed: Sequence[Place]
    freshness: Freshness
    whole: bool


@dataclass(frozen=True)
class Minutes:
    """The minutes that rows lie in, by their starts in us since 1970 UTC."""

    minutes: Sequence[int]
    freshness: Freshness


class History:
    """Reads gold and the tail; safe to use from several threads."""

    def __init__(self, reader: LakeReader, tail: Source) -> None:
        self._reader, self._tail = reader, tail

    def end(self, kind: Kind, exchange: str) -> Position:
        """Up to where the tables hold frames of the topic."""
        bronze = self._reader.table(bronze_name(exchange, kind))
        at = None if bronze is None else position(bronze)
        if at is None:
            return Position()
        return Position({p: (at.epoch, n - 1, END_OF_FRAME) for p, n in at.offsets.items()})

    def after(
        self, wanted: Wanted, since: Position, limit: int, until: Position | None = None
    ) -> Found:
        """The first rows behind the position ``since``, and none behind ``until``."""
        gold = self._reader.table(gold_name(wanted.kind))
        view = self._tail.view(wanted.kind, gold, [wanted.exchange])
        waiting = view.rows(wanted.symbols)
        where, values = _condition(wanted, since, until)
        inputs: dict[str, Input] = {
            "rows": self._planned(gold, wanted, since),
            "near": self._near(gold, wanted, waiting),
            "tail": waiting,
        }
        place, key = ", ".join(PLACE), wanted.kind.identifier
        sql = (
            f"select {_columns(wanted.kind)}, {key} as key, {wanted.kind.record.day} as day from ("
            f"  select * from {{rows}} where {where} union all by name"
            f"  select * from {{tail}} t where {where} and not exists (select 1 from {{near}} n"
            f"   where n.exchange = t.exchange and n.symbol = t.symbol and n.{key} = t.{key})"
            f" order by {place} limit $limit) order by {place}"
        )
        found = self._reader.arrow(sql, inputs, {**values, "limit": limit}, gold)
        is_whole = view.freshness.tail != "down" and found.num_rows < limit
        rows = _rows(self._first_arrivals(wanted, since, found))
        passed = [row.place for row in _rows(found)]
        return Found(rows, passed, view.freshness, is_whole)

    def minutes(self, wanted: Wanted, since: Position) -> Minutes:
        """The minutes of all rows behind the position."""
        gold = self._reader.table(gold_name(wanted.kind))
        view = self._tail.view(wanted.kind, gold, [wanted.exchange])
        where, values = _condition(wanted, since, None)
        inputs: dict[str, Input] = {
            "rows": self._planned(gold, wanted, since),
            "tail": view.rows(wanted.symbols),
        }
        minute = f"epoch_us(timestamp) // {_MINUTE_US} * {_MINUTE_US} as us"
        sql = (
            f"select {minute} from {{rows}} where {where} union"
            f" select {minute} from {{tail}} where {where}"
        )
        found = self._reader.arrow(sql, inputs, values, gold)
        minutes: list[Any] = found["us"].to_pylist()
        return Minutes(minutes, view.freshness)

    def texts(self, kind: Kind, rows: pa.Table) -> list[Row]:
        """The rows as they are sent, in order."""
        sql = f"select {_columns(kind)} from {{rows}} order by {', '.join(PLACE)}"
        return _rows(self._reader.arrow(sql, {"rows": rows}, {}, None))

    def highest(self, kind: Kind, exchange: str, symbol: str) -> int:
        """The highest sequence on the newest day of the symbol, -1 where there is none."""
        gold = self._reader.table(gold_name(kind))
        named = And(EqualTo("exchange", exchange), EqualTo("symbol", symbol))
        files = self._reader.plan(gold_name(kind), gold, named, ("named", exchange, symbol))
        newest = max((f.partition[0] for f in files.files), default=None)
        of_it = files.only(f for f in files.files if f.partition[0] == newest)
        sql = "select max(source_sequence) from {rows} where exchange = $e and symbol = $s"
        [(found,)] = self._reader.run(sql, of_it, {"e": exchange, "s": symbol}, gold)
        return -1 if found is None else int(str(found))

    def stored(self, kind: Kind, rows: pa.Table) -> dict[tuple[str, str], Place]:
        """Those of the rows (of one exchange) whose key gold has: where that one stands."""
        gold = self._reader.table(gold_name(kind))
        exchange = str(rows["exchange"][0])
        symbols: list[Any] = rows["symbol"].unique().to_pylist()
        near = self._near(gold, Wanted(kind, exchange, frozenset(symbols)), rows)
        place = ", ".join(f"n.{c}" for c in PLACE)
        key = kind.identifier
        sql = (
            f"select n.symbol, n.{key}, {place} from {{near}} n semi join {{rows}} r"
            f" on n.exchange = r.exchange and n.symbol = r.symbol and n.{key} = r.{key}"
        )
        found = self._reader.arrow(sql, {"near": near, "rows": rows}, {}, gold).to_pylist()
        return {(r["symbol"], r[key]): tuple(r[c] for c in PLACE) for r in found}

    def _first_arrivals(self, wanted: Wanted, since: Position, found: pa.Table) -> pa.Table:
        """Without rows of which an earlier arrival lies before the position.

        Of repeats gold has the one that was received first, wherever it stands in Kafka: when an
        old recording is replayed, a row that was sent long ago moves behind the position.
        """
        if not found.num_rows or not since.reached:
            return found
        name = silver_name(wanted.exchange, wanted.kind)
        silver = self._reader.table(name)
        days: list[Any] = sorted(found["day"].unique().to_pylist())
        symbols = sorted(wanted.symbols)
        where = And(In(wanted.kind.record.day, days), In("symbol", symbols))
        files = self._reader.plan(name, silver, where, (tuple(days), tuple(symbols)))
        values: dict[str, object] = {}
        sql = (
            f"select * from {{found}} anti join (select symbol, {wanted.kind.identifier} as key"
            f" from {{silver}} where {_passed(since, 'since', values)}) using (symbol, key)"
            f" order by {', '.join(PLACE)}"
        )
        return self._reader.arrow(sql, {"found": found, "silver": files}, values, silver)

    def _planned(self, gold: Table | None, wanted: Wanted, since: Position) -> Files:
        """The files of gold that may hold rows behind the position."""
        behind = _behind(since)
        start = wanted.received_from
        parts: list[BooleanExpression] = [EqualTo("exchange", wanted.exchange), behind[0]]
        parts.append(In("symbol", sorted(wanted.symbols)))
        if start is not None:
            start = start.replace(minute=0, second=0, microsecond=0)
            parts.append(GreaterThanOrEqual("ingestion_timestamp", start.isoformat()))
        key = ("behind", wanted.exchange, wanted.symbols, behind[1], start)
        return self._reader.plan(gold_name(wanted.kind), gold, reduce(And, parts), key)

    def _near(self, gold: Table | None, wanted: Wanted, rows: pa.Table) -> Files:
        """The files of gold that may hold the same keys as these rows."""
        record = wanted.kind.record
        if not rows.num_rows:
            return Files(record.schema, ())
        days: list[Any] = sorted(rows[record.day].unique().to_pylist())
        symbols = sorted(wanted.symbols)
        parts = [
            In(record.day, days),
            EqualTo("exchange", wanted.exchange),
            In("symbol", symbols),
        ]
        key = ("near", wanted.exchange, tuple(symbols), tuple(days))
        return self._reader.plan(gold_name(wanted.kind), gold, reduce(And, parts), key)


def _columns(kind: Kind) -> str:
    """What makes a Row."""
    text = row_json(kind.record, tuple(kind.record.columns))
    return f"symbol, {', '.join(PLACE)}, {text} as text, epoch_us(timestamp) as us"


def _rows(found: pa.Table) -> list[Row]:
    columns = [found[c].to_pylist() for c in ("symbol", *PLACE, "text", "us")]
    return [Row(r[0], r[1:5], *r[5:]) for r in zip(*columns, strict=True)]


def _condition(
    wanted: Wanted, since: Position, until: Position | None
) -> tuple[str, dict[str, object]]:
    """The condition on rows, and the values of its parameters."""
    values: dict[str, object] = {"exchange": wanted.exchange}
    names = [f"symbol_{n}" for n in range(len(wanted.symbols))]
    values.update(zip(names, sorted(wanted.symbols), strict=True))
    parts = ["exchange = $exchange", f"symbol in ({', '.join('$' + n for n in names)})"]
    parts.append(f"not ({_passed(since, 'since', values)})")
    if until is not None:
        parts.append(f"({_passed(until, 'until', values)})")
    for name, sign in (("received_from", ">="), ("received_before", "<")):
        if getattr(wanted, name) is not None:
            parts.append(f"ingestion_timestamp {sign} ${name}")
            values[name] = getattr(wanted, name)
    return " and ".join(parts), values


def _passed(position: Position, name: str, values: dict[str, object]) -> str:
    """The condition for places that the position has passed."""
    parts = ["false"]
    for partition, reached in sorted(position.reached.items()):
        names = [f"{name}_{partition}_{n}" for n in range(3)]
        values.update(zip(names, reached, strict=True))
        values[f"{name}_{partition}"] = partition
        parts.append(
            f"kafka_partition = ${name}_{partition} and (epoch, kafka_offset, frame_index)"
            f" <= ({', '.join('$' + n for n in names)})"
        )
    return " or ".join(parts)


def _behind(since: Position) -> tuple[BooleanExpression, Hashable]:
    """The filter of files for rows behind the position, and its key: offsets rounded down.

    A partition that the position does not name may be needed whole.
    """
    named = since.reached
    if not named:
        return AlwaysTrue(), None
    epoch = min(r[0] for r in named.values())
    offset = min(r[1] for r in named.values() if r[0] == epoch) // _OFFSETS * _OFFSETS
    others = sorted(set(range(max(named))) - named.keys())
    of_epoch = reduce(
        Or,
        [
            GreaterThanOrEqual("kafka_offset", offset),
            GreaterThan("kafka_partition", max(named)),
            *(EqualTo("kafka_partition", partition) for partition in others),
        ],
    )
    later = GreaterThan("epoch", epoch)
    return Or(later, And(EqualTo("epoch", epoch), of_epoch)), (epoch, offset, tuple(sorted(named)))
