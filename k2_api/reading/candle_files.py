"""The files of a table of candles, by exchange and day, and which windows are over."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_api.reading.candle_set import micros
from k2_api.reading.reader import LakeReader, Pinned, read_from
from k2_api.reading.symbols import bounds
from k2_lake.scan import Files, day_of_file
from k2_market.records import CANDLE

_KEPT = 32


@dataclass(frozen=True)
class OfExchange:
    """The days with candles of an exchange, the first one first, and the files of each.

    ``over`` is when its newest window begins, in microseconds: whatever ends by then is over, for
    a trade has come that is later.
    """

    days: list[date]
    files: list[tuple[DataFile, ...]]
    over: int


@dataclass(frozen=True)
class Held:
    """What a table of candles held in one snapshot."""

    files: Files
    exchanges: dict[str, OfExchange]

    def over(self, exchange: str) -> int:
        """See ``OfExchange.over``; 0 where there is nothing."""
        of = self.exchanges.get(exchange)
        return 0 if of is None else of.over


class CandleFiles:
    """Keeps what tables of candles held, by snapshot; safe to use from several threads."""

    def __init__(self, reader: LakeReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, int | None], Held] = OrderedDict()

    def of(self, name: str, table: Table | None, at: Pinned | None) -> Held:
        """What the table held then. Raises LakeUnavailable."""
        known = (name, read_from(table, at))
        with self._lock:
            if known in self._held:
                self._held.move_to_end(known)
                return self._held[known]
        files = self._reader.plan(name, table, AlwaysTrue(), "all", at)
        found = _held(files, table)
        with self._lock:
            self._held[known] = found
            if len(self._held) > _KEPT:
                self._held.popitem(last=False)
        return found


def _held(files: Files, table: Table | None) -> Held:
    grouped: dict[str, dict[date, list[DataFile]]] = {}
    for file in files.files:
        days = grouped.setdefault(str(file.partition[1]), {})
        days.setdefault(day_of_file(file), []).append(file)
    if table is None:
        return Held(files, {})
    return Held(files, {e: _of_exchange(days, table) for e, days in grouped.items()})


def _of_exchange(days: Mapping[date, Sequence[DataFile]], table: Table) -> OfExchange:
    ordered = sorted(days)
    files = [tuple(days[day]) for day in ordered]
    return OfExchange(ordered, files, _newest(files[-1], table))


def _newest(files: Iterable[DataFile], table: Table) -> int:
    newest: list[datetime] = [
        at for f in files if (at := bounds(f, table, CANDLE.order[1])[1]) is not None
    ]
    return max(map(micros, newest), default=0)
