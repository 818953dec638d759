"""The instruments that have rows, from the table itself: file by file, each read at most once.

Files never change, so what one of them holds is remembered for as long as the table has it. A file
whose column bounds name a single instrument is not read at all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, cast

from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import PrimitiveType
from pyiceberg.utils.datetime import days_to_date, micros_to_timestamptz

from k2_api.reading.reader import LakeReader, Pinned, pinned
from k2_lake.scan import Files
from k2_lake.tables import TRADES_TABLE, table_def
from k2_market.errors import UnknownName
from k2_market.exchanges import exchange as known_exchange
from k2_market.instruments import canonical_symbol

_NAMES = ("exchange", "symbol", "exchange_symbol")
# Iceberg cuts the bounds of longer texts: equal bounds then do not mean equal values.
FULL_BOUND = 16
_KEPT_LISTINGS = 32

_AS_PYTHON: dict[str, Callable[[int], Any]] = {
    "date": days_to_date,
    "timestamptz": micros_to_timestamptz,
}


@dataclass(frozen=True)
class Instrument:
    """An instrument with the UTC days of its first and last row and the number of rows."""

    exchange: str
    symbol: str
    exchange_symbol: str
    first: date
    last: date
    rows: int

    def __add__(self, other: Instrument) -> Instrument:
        """The same instrument in more files."""
        days = (min(self.first, other.first), max(self.last, other.last))
        return Instrument(
            self.exchange, self.symbol, self.exchange_symbol, *days, self.rows + other.rows
        )


@dataclass(frozen=True)
class Listing:
    """All instruments as of one snapshot, by exchange and symbol, and the newest time."""

    location: str | None
    snapshot_id: int | None
    instruments: tuple[Instrument, ...]
    newest: datetime | None
    spelled: tuple[Instrument, ...] = ()
    """Others that only tell how an exchange spells a symbol."""

    def matching(self, exchanges: Collection[str], symbols: Collection[str]) -> list[Instrument]:
        """The instruments of these exchanges and symbols; none named is any."""
        return [
            i
            for i in self.instruments
            if (not exchanges or i.exchange in exchanges) and (not symbols or i.symbol in symbols)
        ]

    def resolve(self, symbol: str, exchanges: Collection[str]) -> str:
        """The canonical symbol that has rows (there). Raises UnknownName."""
        here = self.matching(exchanges, ())
        canonical = canonical_symbol(symbol)
        elsewhere = [i for i in self.spelled if not exchanges or i.exchange in exchanges]
        listed = {i.symbol for i in here}
        for i in (*here, *elsewhere):
            if i.symbol in listed and (
                i.symbol == canonical or i.exchange_symbol.upper() == symbol.upper()
            ):
                return i.symbol
        raise UnknownName("symbol", symbol, listed or ["none, there are no rows"])


class Symbols:
    """Keeps the listings of the newest snapshots; safe to use from several threads."""

    def __init__(self, reader: LakeReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._files: dict[str, dict[str, tuple[Instrument, ...]]] = {}
        self._listings: dict[str, Listing] = {}
        self._past: OrderedDict[tuple[str, int | None], Listing] = OrderedDict()

    def listing(self, name: str = TRADES_TABLE) -> Listing:
        """The instruments of a table of trades or quotes as of now. Raises LakeUnavailable."""
        table = self._reader.table(name)
        if table is None:
            return Listing(None, None, (), None)
        with self._lock:
            known = self._listings.get(name)
            if known is None or known.location != table.metadata_location:
                self._listings[name] = known = self._read(name, table)
            return known

    def listing_at(self, name: str, table: Table | None, at: Pinned) -> Listing:
        """The instruments of any table in a past state, which never change.

        Where the table does not tell how an exchange spells a symbol, the trades of now do.
        """
        known = (name, at.snapshot_id)
        with self._lock:
            if known not in self._past:
                files = self._reader.plan(name, table, AlwaysTrue(), "all", at).files
                rows = [i for f in files if table for i in self._in_file(name, f, table)]
                location = None if table is None else table.metadata_location
                self._past[known] = Listing(location, at.snapshot_id, _merged(rows), None)
                if len(self._past) > _KEPT_LISTINGS:
                    self._past.popitem(last=False)
            found = self._past[known]
        if _NAMES[2] in table_def(name).schema.names:
            return found
        return replace(found, spelled=self.listing().instruments)

    def _read(self, name: str, table: Table) -> Listing:
        files = self._reader.plan(name, table, AlwaysTrue(), "all").files
        read = self._files.get(name, {})
        self._files[name] = found = {
            f.file_path: read.get(f.file_path) or self._in_file(name, f, table) for f in files
        }
        head = table.current_snapshot()
        return Listing(
            table.metadata_location,
            None if head is None else head.snapshot_id,
            _merged(i for instruments in found.values() for i in instruments),
            max((b for f in files if (b := bounds(f, table, "timestamp")[1])), default=None),
        )

    def _in_file(self, name: str, file: DataFile, table: Table) -> tuple[Instrument, ...]:
        definition = table_def(name)
        names = [n for n in _NAMES if n in definition.schema.names]
        ends = [bounds(file, table, column) for column in names]
        first, last = bounds(file, table, definition.record.day)
        if all(a == b and a and len(a) < FULL_BOUND for a, b in ends) and first and last:
            own = [a for a, _ in ends]
            return (Instrument(own[0], own[1], own[-1], first, last, file.record_count),)
        # Candles do not tell the exchange's own spelling: the canonical symbol stands for it.
        by = (*names, "symbol")[: len(_NAMES)]
        rows = self._reader.run(
            f"select {', '.join(by)}, min({definition.record.day}), max({definition.record.day}), "
            f"count(*) from {{rows}} group by {', '.join(names)}",
            Files(definition.schema, (file,)),
            {},
            table,
        )
        return tuple(Instrument(*row) for row in rows)  # type: ignore[arg-type]


def listing_as_of(reader: LakeReader, symbols: Symbols, as_of: str | None) -> Listing:
    """What has trades: now, or as of then. Raises UsageError, UnknownName, LakeUnavailable."""
    table = reader.table(TRADES_TABLE)
    at = pinned(table, as_of, None)
    return symbols.listing() if at is None else symbols.listing_at(TRADES_TABLE, table, at)


def require_exchange(name: str) -> str:
    """The exchange's name in its own spelling, whatever the case. Raises UnknownName."""
    return known_exchange(name.lower()).name


def _merged(found: Iterable[Instrument]) -> tuple[Instrument, ...]:
    merged: dict[tuple[str, str, str], Instrument] = {}
    for i in found:
        key = (i.exchange, i.symbol, i.exchange_symbol)
        merged[key] = merged[key] + i if key in merged else i
    return tuple(merged[key] for key in sorted(merged))


def bounds(file: DataFile, table: Table, column: str) -> tuple[Any, Any]:
    """Lowest and highest value of the column in the file, None where the file does not say."""
    field = table.schema().find_field(column)

    def value(bounds: dict[int, bytes] | None) -> Any:
        raw = (bounds or {}).get(field.field_id)
        if raw is None:
            return None
        found: Any = from_bytes(cast("PrimitiveType", field.field_type), raw)
        as_python = _AS_PYTHON.get(str(field.field_type))
        return found if as_python is None else as_python(found)

    return value(file.lower_bounds), value(file.upper_bounds)
