"""From what a request says to what is asked of a table: names resolved, the range settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import msgspec
import pyarrow as pa
from pyiceberg.table import Table

from k2_api.questions import cursor as cursors
from k2_api.questions.parameters import Parameters, names
from k2_api.reading.current import NOTHING_NEWER, Newer
from k2_api.reading.datasets import Dataset
from k2_api.reading.reader import LakeReader, Pinned, pinned
from k2_api.reading.symbols import Instrument, Listing, Symbols, require_exchange
from k2_api.tail.freshness import Freshness
from k2_api.tail.tail import Tail
from k2_api.tail.view import TailView
from k2_market.errors import UnknownName
from k2_market.instruments import canonical_symbol
from k2_market.timeframes import day_bounds


@dataclass(frozen=True)
class Asked:
    """Which rows of a dataset are wanted, of which state of its table, in which order.

    No exchange or symbol means all. ``text`` is what a cursor belongs to. ``after`` is the key that
    the rows must come behind. ``conditions`` are SQL on the rows with ``values`` for its
    parameters. ``first_day`` is the first with rows of these instruments, where that is known.
    """

    dataset: Dataset
    table: Table | None
    at: Pinned | None
    text: str
    exchanges: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    after: tuple[cursors.KeyValue, ...] | None = None
    descending: bool = False
    fields: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    first_day: date | None = None
    newest_day: date | None = None
    pace: float | None = None
    """Rows a second of these instruments, in the mean of the days that have some."""
    tail: TailView | None = None
    """What the table may lack; None where it was asked for as it was, or has no tail."""
    freshness: Freshness | None = None
    """How fresh the answer is; None where that is not asked."""
    newer: Newer = NOTHING_NEWER
    """Candles in the place of stored ones that do not hold any more."""

    @property
    def schema(self) -> pa.Schema:
        """The fields that are wanted."""
        return pa.schema([self.dataset.record.schema.field(name) for name in self.fields])

    @property
    def one_instrument(self) -> bool:
        """Whether rows are of a single instrument, so that their order is that of time."""
        return len(self.exchanges) == 1 and len(self.symbols) == 1


def ask(
    reader: LakeReader,
    symbols: Symbols,
    dataset: Dataset,
    said: Parameters,
    conditions: Sequence[str] = (),
    values: Mapping[str, object] | None = None,
    tail: Tail | None = None,
    known: Newer | None = None,
) -> Asked:
    """What ``said`` asks of the dataset. Raises UsageError, UnknownName, LakeUnavailable.

    ``conditions`` narrow the rows further, with ``values`` for their parameters. Symbols that
    ``known`` has are known as well.
    """
    text = msgspec.json.encode(said.question(dataset.question)).decode()
    after = None if said.cursor is None else cursors.decode(said.cursor, text, dataset.types)
    table = reader.table(dataset.table)
    at = pinned(table, said.as_of, None if after is None else after.snapshot)
    exchanges = tuple(sorted({require_exchange(e) for e in said.exchanges}))
    listing = _listing(symbols, dataset, table, at)
    newer = None
    if tail is not None and dataset.kind is not None and at is None:
        newer = tail.view(dataset.kind, table, exchanges or None)
    start, end = said.range()
    filters = _filters(dataset, said)
    asked = Asked(
        dataset,
        table,
        at,
        text,
        exchanges,
        _resolved(dataset, listing, said, exchanges, known if newer is None else newer),
        start if after is None else after.start_at,
        end,
        None if after is None else after.key(dataset.types),
        said.order == "desc",
        _fields(dataset, said.fields),
        (*conditions, *(f"{name} = ${name}" for name in filters)),
        {**(values or {}), **filters},
        tail=newer,
        freshness=None if newer is None else newer.freshness,
    )
    return _with_days(asked, listing, settled=after is not None)


def _listing(
    symbols: Symbols, dataset: Dataset, table: Table | None, at: Pinned | None
) -> Listing | None:
    if dataset.named_by is None:
        return None
    if at is None or not dataset.must_be_known:
        return symbols.listing(dataset.named_by)
    return symbols.listing_at(dataset.table, table, at)


def _resolved(
    dataset: Dataset,
    listing: Listing | None,
    said: Parameters,
    exchanges: Sequence[str],
    newer: TailView | Newer | None,
) -> tuple[str, ...]:
    if listing is None:
        return ()
    found: set[str] = set()
    for symbol in names("symbol", getattr(said, "symbol", None)):
        try:
            found.add(listing.resolve(symbol, exchanges))
        except UnknownName:
            canonical = canonical_symbol(symbol) or symbol
            if dataset.must_be_known and (newer is None or not newer.trades(canonical)):
                raise
            found.add(canonical)
    return tuple(sorted(found))


def _filters(dataset: Dataset, said: Parameters) -> dict[str, str]:
    values = {name: getattr(said, name) for name in dataset.filters}
    return {name: str(value) for name, value in values.items() if value is not None}


def _fields(dataset: Dataset, written: str | None) -> tuple[str, ...]:
    known = dataset.record.columns
    if written is None:
        return tuple(known)
    asked = dict.fromkeys(name.strip() for name in written.split(","))
    for name in asked:
        if name not in known:
            raise UnknownName("field", name, known)
    return tuple(asked)


def _with_days(asked: Asked, listing: Listing | None, *, settled: bool) -> Asked:
    """The days that have rows; and where no start was asked for, the one that goes without."""
    if listing is None:
        return asked
    found = listing.matching(asked.exchanges, asked.symbols)
    first = min((i.first for i in found), default=None)
    newest = max((i.last for i in found), default=None)
    days, start = asked.dataset.days_before, asked.start
    if days is not None and start is None and not asked.descending and not settled:
        start = _default_start(newest, asked.end, days)
    if not asked.dataset.must_be_known:
        return replace(asked, start=start)
    pace = _pace(found) if asked.dataset.named_by == asked.dataset.table else None
    return replace(asked, start=start, first_day=first, newest_day=newest, pace=pace)


def _pace(found: Sequence[Instrument]) -> float | None:
    if not found:
        return None
    days = (max(i.last for i in found) - min(i.first for i in found)).days + 1
    return sum(i.rows for i in found) / timedelta(days=days).total_seconds()


def _default_start(newest: date | None, end: datetime | None, days: int) -> datetime | None:
    """Midnight of the newest day with trades, or of the last before ``end``, less ``days``."""
    if newest is None:
        return None
    return day_bounds(last_day(newest, end) - timedelta(days=days))[0]


def last_day(newest: date, end: datetime | None) -> date:
    """The newest day, or the last that begins before ``end``."""
    if end is None:
        return newest
    return min(newest, (end.astimezone(UTC) - timedelta(microseconds=1)).date())
