"""Candles of the windows that the stored ones do not tell yet: of trades in the tail, and in gold.

Which windows these are is known from two sides: rows that the tail holds, and commits that a table
of candles has yet to follow. Their candles are made anew from all trades of the minutes concerned
by the statements that make the tables; every other minute is taken as stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import And, In
from pyiceberg.table import Table

from k2_api.reading.current import NOTHING_NEWER, TIMES, Newer
from k2_api.reading.reader import LakeReader
from k2_api.tail.freshness import Freshness
from k2_api.tail.tail import Tail
from k2_api.tail.view import TailView
from k2_lake.candles import candle_sql
from k2_lake.engine import Input, statement
from k2_lake.history import Change, Consumed, Mode, changes_since, consumed
from k2_lake.retained import retained
from k2_lake.scan import Files, appended, between
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_lake.windows import changed_by, containing, reach
from k2_market.errors import HistoryGone
from k2_market.kinds import Kind
from k2_market.records import CANDLE, INSTANT, TRADE
from k2_market.timeframes import TIMEFRAMES, Timeframe

# An answer may be so old: candles are made at most so often, whoever asks.
KEPT_S = 0.2
# More windows of a minute than this are not made for an answer: an archive is being loaded.
MOST_WINDOWS = 5_000

_MINUTE = TIMEFRAMES["1m"]
_NAMES = ["exchange", "symbol", "us"]
_INSTRUMENT = [TRADE.schema.field(name) for name in ("exchange", "symbol")]
_WINDOWS = pa.schema([*_INSTRUMENT, pa.field("us", pa.int64(), nullable=False)])
_TOO_MANY = "more minutes wait for their candles than are made for an answer"
_GONE = "what the candles have yet to follow has expired"

# The trades of the touched minutes: gold's, and of the tail those that gold lacks.
_TRADES = """
(with held as ({within})
 select {columns} from held
 union all
 select {columns} from {{tail}} anti join held using (exchange, symbol, trade_id))
"""
_OF_A_CANDLE = (
    "exchange, symbol, trade_id, source_sequence, timestamp, price, quantity, side, trade_count,"
    " candle_eligible"
)
# The minutes of the touched windows: those stored, but for the ones that were made anew.
_MINUTES = """
(select {columns} from ({within}) stored anti join {{keys}} using (exchange, symbol, window_start)
 union all by name
 select {columns} from {{made}} c where exists (
  select 1 from {{touched}} w where w.exchange = c.exchange and w.symbol = c.symbol
  and unix_micros(c.window_start) - unix_micros(c.window_start) % {us} = w.us))
"""


@dataclass(frozen=True)
class _Touched:
    """Windows by their start in ``us``, and days of which it is not known which."""

    windows: pa.Table
    unsettled: frozenset[date] = frozenset()


@dataclass(frozen=True)
class _Kept:
    """What was found, when, and for which states of the table, of the catalog and of the tail.

    ``whole`` unless rows of the tail were left out: they come back without a change of its state.
    """

    at: float
    location: str | None
    state: tuple[object, int]
    newer: Newer
    trouble: str | None
    whole: bool


class FreshCandles:
    """Makes and keeps them; safe to use from several threads. See ``NewerCandles``."""

    def __init__(self, reader: LakeReader, tail: Tail) -> None:
        self._reader, self._tail = reader, tail
        self._locks = {name: threading.Lock() for name in TIMEFRAMES}
        self._kept: dict[str, _Kept] = {}

    def of(self, timeframe: str, table: Table | None) -> Newer:
        """What the stored candles of that timeframe, in that state, do not tell yet.

        At most 0.2 s old. Raises LakeUnavailable.
        """
        with self._locks[timeframe]:
            found = self.at_hand(timeframe, table)
            if found is not None:
                return found
            began, state = time.monotonic(), self._state()
            location = None if table is None else table.metadata_location
            gold = self._reader.table(TRADES_TABLE)
            view = self._tail.view(Kind.TRADES, gold)
            newer, trouble = self._made(TIMEFRAMES[timeframe], table, gold, view)
            whole = view.freshness.tail != "down"
            self._kept[timeframe] = _Kept(began, location, state, newer, trouble, whole)
            return newer

    def at_hand(self, timeframe: str, table: Table | None) -> Newer | None:
        """The same at once, None where it would have to be made."""
        kept = self._kept.get(timeframe)
        if kept is None or kept.location != (None if table is None else table.metadata_location):
            return None
        state = self._state()
        same = kept.whole and state == kept.state and state[0] is not None
        return kept.newer if same or time.monotonic() - kept.at < KEPT_S else None

    def freshness(self, timeframe: str, exchanges: Iterable[str] = ()) -> Freshness:
        """How fresh an answer is for these exchanges, or for all where there are none."""
        kept = self._kept.get(timeframe)
        found = self._tail.state(Kind.TRADES, tuple(exchanges) or None)
        if kept is None or kept.trouble is None or found.tail != "live":
            return found
        return Freshness("down", None, kept.trouble)

    def _state(self) -> tuple[object, int]:
        return self._reader.beat(), self._tail.mark(Kind.TRADES)

    def _made(
        self, frame: Timeframe, table: Table | None, gold: Table | None, view: TailView
    ) -> tuple[Newer, str | None]:
        """What is newer, or nothing and why that cannot be told."""
        tables = {f.name: self._reader.table(candle_name(f.name)) for f in _down_to_minutes(frame)}
        tables[frame.name] = table
        try:
            minutes = self._minutes(gold, tables[_MINUTE.name], view)
            touched = _carried(frame, minutes, tables)
        except HistoryGone:
            return NOTHING_NEWER, _GONE
        if minutes.windows.num_rows > MOST_WINDOWS:
            return NOTHING_NEWER, _TOO_MANY
        if not touched.windows.num_rows:
            return Newer(unsettled=touched.unsettled), None
        made, times = self._of_trades(gold, view, minutes.windows), view.rows().select(TIMES.names)
        if frame.source is None:
            return Newer(_keys(minutes.windows), made, touched.unsettled, times), None
        windows = _held(tables[_MINUTE.name], touched.windows)
        rows = self._of_minutes(frame, tables[_MINUTE.name], windows, minutes.windows, made)
        return Newer(_keys(windows), rows, touched.unsettled, times), None

    def _minutes(self, gold: Table | None, minutes: Table | None, view: TailView) -> _Touched:
        """The minutes of which trades are in the tail, or in gold and not yet followed."""
        parts = [self._windows_in(view.rows(), None)]
        days: set[date] = set()
        for table in () if gold is None else (gold,):
            for day, changes in _pending(table, minutes).items():
                if all(c.mode is Mode.APPEND for c in changes):
                    files = appended(table, [c.snapshot for c in changes], TRADE.schema)
                    parts.append(self._windows_in(files, table))
                else:
                    days.add(day)
        if days:
            # Which windows a recompute changes is not told, but the newest rows are known here.
            parts.append(self._windows_in(view.recent(), None))
        found = pa.concat_tables(parts).group_by(_NAMES).aggregate([]).select(_NAMES)
        return _Touched(_held(gold, found), frozenset(days))

    def _windows_in(self, trades: Files | pa.Table, table: Table | None) -> pa.Table:
        rows = trades.rows if isinstance(trades, Files) else trades.num_rows
        if not rows:
            return _WINDOWS.empty_table()
        sql = statement("touched_windows").replace("from added", "from {added}")
        sql = sql.replace("{us}", str(_MINUTE.micros))
        return self._reader.arrow(sql, {"added": trades}, {}, table).cast(_WINDOWS)

    def _of_trades(self, gold: Table | None, view: TailView, windows: pa.Table) -> pa.Table:
        """The candles of these minutes."""
        source = _TRADES.format(within=_within("timestamp", _MINUTE, windows), columns=_OF_A_CANDLE)
        inputs: dict[str, Input] = {
            "rows": self._files(TRADES_TABLE, gold, windows, _MINUTE),
            "touched": windows,
            "tail": view.recent(),
        }
        return self._candles(candle_sql(_MINUTE, source), inputs, gold)

    def _of_minutes(
        self,
        frame: Timeframe,
        minutes: Table | None,
        windows: pa.Table,
        made_of: pa.Table,
        made: pa.Table,
    ) -> pa.Table:
        """The candles of these windows, from stored minutes and those made anew."""
        if not windows.num_rows:
            return CANDLE.schema.empty_table()
        source = _MINUTES.format(
            within=_within("window_start", frame, windows),
            columns=", ".join(CANDLE.columns),
            us=frame.micros,
        )
        inputs: dict[str, Input] = {
            "rows": self._files(candle_name(_MINUTE.name), minutes, windows, frame),
            "touched": windows,
            "keys": _keys(made_of),
            "made": made,
        }
        return self._candles(candle_sql(frame, source), inputs, minutes)

    def _files(self, name: str, table: Table | None, windows: pa.Table, frame: Timeframe) -> Files:
        """The files that may hold what lies in the windows."""
        start, end = reach(windows, frame.length)
        at, day = ("timestamp", "trade_date") if name == TRADES_TABLE else _OF_CANDLES
        days = _days(windows)
        named: list[str] = windows["exchange"].unique().to_pylist()  # type: ignore[assignment]
        exchanges = tuple(sorted(named))
        start = start.replace(minute=0)
        where = And(And(In(day, days), In("exchange", exchanges)), between(at, start, end))
        return self._reader.plan(name, table, where, (name, tuple(days), exchanges, start, end))

    def _candles(self, sql: str, inputs: Mapping[str, Input], table: Table | None) -> pa.Table:
        made = self._reader.arrow(sql, inputs, {}, table)
        return made.select(CANDLE.columns).cast(CANDLE.schema)


_OF_CANDLES = ("window_start", "window_date")


def _within(at: str, frame: Timeframe, windows: pa.Table) -> str:
    start, end = reach(windows, frame.length)
    sql = statement("within_windows").replace("from rows r", "from {rows} r")
    sql = sql.replace("join touched w", "join {touched} w")
    names = {"at": at, "us": frame.micros, "start": start.isoformat(), "end": end.isoformat()}
    for name, value in names.items():
        sql = sql.replace(f"{{{name}}}", str(value))
    return sql


def _down_to_minutes(frame: Timeframe) -> list[Timeframe]:
    """The timeframe and all that it is made from, the coarsest first."""
    return [frame, *(_down_to_minutes(TIMEFRAMES[frame.source]) if frame.source else [])]


def _carried(frame: Timeframe, minutes: _Touched, tables: Mapping[str, Table | None]) -> _Touched:
    """The windows of ``frame`` that contain one of these minutes, or whose source has changed."""
    if frame.source is None:
        return minutes
    finer = _carried(TIMEFRAMES[frame.source], minutes, tables)
    parts, days = [finer.windows], set(finer.unsettled)
    source = tables[frame.source]
    for day, changes in ({} if source is None else _pending(source, tables[frame.name])).items():
        changed = changed_by(changes)
        if changed is None:
            days.add(day)
        else:
            parts.append(changed.cast(_WINDOWS))
    both = pa.concat_tables(parts)
    return _Touched(containing(both, frame.micros).cast(_WINDOWS), frozenset(days))


def _pending(source: Table, table: Table | None) -> dict[date, list[Change]]:
    """By day, the commits of ``source`` that ``table`` has yet to follow. Raises HistoryGone."""
    name = ".".join(source.name()[-2:])
    done = Consumed() if table is None else consumed(table).get(name, Consumed())
    return done.pending(changes_since(source, done.through))


def _held(source: Table | None, windows: pa.Table) -> pa.Table:
    """Those of days that the source still holds: of others the stored candle is all there is."""
    kept = None if source is None else retained(source)
    if kept is None or kept.start is None:
        return windows
    mask: Any = pa.array([kept.holds(day) for day in _dates(windows).to_pylist()], pa.bool_())
    return windows.filter(mask)


def _dates(windows: pa.Table) -> Any:
    return windows["us"].cast(INSTANT).cast(pa.date32())


def _days(windows: pa.Table) -> Sequence[date]:
    found: list[date] = sorted(_dates(windows).unique().to_pylist())
    return found


def _keys(windows: pa.Table) -> pa.Table:
    starts = windows["us"].cast(INSTANT)
    keys = windows.select(["exchange", "symbol"]).append_column("window_start", starts)
    return keys.cast(NOTHING_NEWER.keys.schema)
