"""The instruments that have trades, from the table of trades: file by file, each read at most once.

Files never change, so what one of them holds is remembered for as long as the table has it. A file
whose column bounds name a single instrument is not read at all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, cast

from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import PrimitiveType
from pyiceberg.utils.datetime import days_to_date, micros_to_timestamptz

from k2_api.reading.reader import LakeReader, Pinned
from k2_lake.scan import Files
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import UnknownName
from k2_market.exchanges import exchange as known_exchange
from k2_market.instruments import canonical_symbol
from k2_market.records import CANDLE, TRADE

NAMED_BY = ("exchange", "symbol", "exchange_symbol")
# Iceberg cuts the bounds of longer texts: equal bounds then do not mean equal values.
FULL_BOUND = 16

AS_PYTHON: dict[str, Callable[[int], Any]] = {
    "date": days_to_date,
    "timestamptz": micros_to_timestamptz,
}

IN_FILE = """
select exchange, symbol, exchange_symbol, min(trade_date), max(trade_date), count(*)
from {rows} group by exchange, symbol, exchange_symbol
"""
# Candles do not tell the exchange's own spelling.
IN_CANDLES = """
select exchange, symbol, symbol, min(window_date), max(window_date), count(*)
from {rows} group by exchange, symbol
"""
KEPT_LISTINGS = 32


@dataclass(frozen=True)
class Instrument:
    """An instrument with the UTC days of its first and last trade and the number of trades."""

    exchange: str
    symbol: str
    exchange_symbol: str
    first: date
    last: date
    trades: int

    def __add__(self, other: Instrument) -> Instrument:
        """The same instrument in more files."""
        days = (min(self.first, other.first), max(self.last, other.last))
        return Instrument(
            self.exchange, self.symbol, self.exchange_symbol, *days, self.trades + other.trades
        )


@dataclass(frozen=True)
class Listing:
    """All instruments as of one snapshot, by exchange and symbol, and the newest trade time."""

    location: str | None
    snapshot_id: int | None
    instruments: tuple[Instrument, ...]
    newest: datetime | None
    spelled: tuple[Instrument, ...] = ()
    """Others that only tell how an exchange spells a symbol."""

    def matching(self, exchange: str | None, symbol: str | None) -> list[Instrument]:
        """The instruments of that exchange and symbol; None is any."""
        return [
            i
            for i in self.instruments
            if exchange in (None, i.exchange) and symbol in (None, i.symbol)
        ]

    def resolve(self, symbol: str, exchange: str | None) -> str:
        """The canonical symbol that has trades (there). Raises UnknownName."""
        here = self.matching(exchange, None)
        canonical = canonical_symbol(symbol)
        elsewhere = [i for i in self.spelled if exchange in (None, i.exchange)]
        listed = {i.symbol for i in here}
        for i in (*here, *elsewhere):
            if i.symbol in listed and (
                i.symbol == canonical or i.exchange_symbol.upper() == symbol.upper()
            ):
                return i.symbol
        raise UnknownName("symbol", symbol, listed or ["none, there are no trades"])


class SymbolIndex:
    """Keeps the listing of the newest snapshot; safe to use from several threads."""

    def __init__(self, reader: LakeReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._files: dict[str, tuple[Instrument, ...]] = {}
        self._listing = Listing(None, None, (), None)
        self._past: OrderedDict[tuple[str, int | None], Listing] = OrderedDict()

    def listing(self) -> Listing:
        """The instruments as of now. Raises LakeUnavailable."""
        table = self._reader.table(TRADES_TABLE)
        if table is None:
            return Listing(None, None, (), None)
        with self._lock:
            if self._listing.location != table.metadata_location:
                self._listing = self._read(table)
            return self._listing

    def listing_at(self, name: str, table: Table | None, at: Pinned) -> Listing:
        """The instruments of a table of trades or candles in a past state, which never change.

        Where the table does not tell how an exchange spells a symbol, the trades of now do.
        """
        known = (name, at.snapshot_id)
        with self._lock:
            if known not in self._past:
                files = self._reader.plan(name, table, AlwaysTrue(), "all", at).files
                rows = [i for f in files for i in self._of_past(name, f, table)]
                location = None if table is None else table.metadata_location
                self._past[known] = Listing(location, at.snapshot_id, _merged(rows), None)
                if len(self._past) > KEPT_LISTINGS:
                    self._past.popitem(last=False)
            found = self._past[known]
        return found if name == TRADES_TABLE else replace(found, spelled=self.listing().instruments)

    def _of_past(self, name: str, file: DataFile, table: Table | None) -> Iterable[Instrument]:
        if name == TRADES_TABLE and table is not None:
            return self._files.get(file.file_path) or self._in_file(file, table)
        rows = self._reader.run(IN_CANDLES, Files(CANDLE.schema, (file,)), {}, table)
        return [Instrument(*row) for row in rows]  # type: ignore[arg-type]

    def _read(self, table: Table) -> Listing:
        files = self._reader.plan(TRADES_TABLE, table, AlwaysTrue(), "all").files
        self._files = {
            f.file_path: self._files.get(f.file_path) or self._in_file(f, table) for f in files
        }
        head = table.current_snapshot()
        return Listing(
            table.metadata_location,
            None if head is None else head.snapshot_id,
            _merged(i for found in self._files.values() for i in found),
            max((b for f in files if (b := _bounds(f, table, "timestamp")[1])), default=None),
        )

    def _in_file(self, file: DataFile, table: Table) -> tuple[Instrument, ...]:
        bounds = [_bounds(file, table, c) for c in NAMED_BY]
        first, last = _bounds(file, table, "trade_date")
        if all(a == b and a and len(a) < FULL_BOUND for a, b in bounds) and first and last:
            exchange, symbol, own = (a for a, _ in bounds)
            return (Instrument(exchange, symbol, own, first, last, file.record_count),)
        rows = self._reader.run(IN_FILE, Files(TRADE.schema, (file,)), {}, table)
        return tuple(Instrument(*row) for row in rows)  # type: ignore[arg-type]


def require_exchange(name: str | None) -> str | None:
    """The exchange's name in its own spelling, whatever the case. Raises UnknownName."""
    return None if name is None else known_exchange(name.lower()).name


def _merged(found: Iterable[Instrument]) -> tuple[Instrument, ...]:
    merged: dict[tuple[str, str, str], Instrument] = {}
    for i in found:
        key = (i.exchange, i.symbol, i.exchange_symbol)
        merged[key] = merged[key] + i if key in merged else i
    return tuple(merged[key] for key in sorted(merged))


def _bounds(file: DataFile, table: Table, column: str) -> tuple[Any, Any]:
    """Lowest and highest value of the column in the file, None where the file does not say."""
    field = table.schema().find_field(column)

    def value(bounds: dict[int, bytes] | None) -> Any:
        raw = (bounds or {}).get(field.field_id)
        if raw is None:
            return None
        found: Any = from_bytes(cast("PrimitiveType", field.field_type), raw)
        as_python = AS_PYTHON.get(str(field.field_type))
        return found if as_python is None else as_python(found)

    return value(file.lower_bounds), value(file.upper_bounds)
