"""Our candles beside the exchange's own, compared window by window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import And, EqualTo, In
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.quality.gap_ledger import State
from k2_lake.quality.gaps import recorded_gaps
from k2_lake.scan import between, of_day, planned
from k2_lake.tables import candle_name
from k2_market.klines import (
    Comparison,
    Coverage,
    Figures,
    Outcome,
    Published,
    compare,
)
from k2_market.records import CANDLE
from k2_market.timeframes import Timeframe, timeframe

# Numbers that a candle of ours and one of an exchange can have in common.
FIGURES = tuple(
    name
    for name in CANDLE.columns
    if pa.types.is_decimal(CANDLE.schema.field(name).type) or name == "trade_count"
)
# Exchanges take a while to publish a window, and trades to become candles of ours.
SETTLING = timedelta(minutes=1)


@dataclass(frozen=True)
class Reconciled:
    """What came of comparing one symbol at one timeframe, for windows starting in [start, end)."""

    exchange: str
    symbol: str
    timeframe: str
    start: datetime
    end: datetime
    source: str
    snapshot_id: int | None
    windows: tuple[Comparison, ...]

    def rows(self, at: datetime) -> list[dict[str, Any]]:
        """The same with the names of the record."""
        return [self._row(window, at) for window in self.windows]

    def _row(self, window: Comparison, at: datetime) -> dict[str, Any]:
        return {
            "exchange": self.exchange,
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "window_start": window.window_start,
            "outcome": window.outcome.value,
            "fields": list(window.fields),
            "differing": list(window.differing),
            "ours": _texts(window.ours),
            "theirs": _texts(window.theirs),
            "reason": window.reason,
            "source": self.source,
            "candles_snapshot": self.snapshot_id,
            "compared_at": at,
            "window_date": window.window_start.date(),
        }


def reconcile(
    lake: Lake,
    engine: Engine,
    exchange: str,
    symbol: str,
    name: str,
    published: Published,
    now: datetime,
) -> Reconciled:
    """Compare what an exchange published of a symbol with ``gold.ohlcv_<name>``; keeps nothing.

    Windows that have not ended a minute before ``now`` are left out. Raises UnknownName.
    """
    frame = timeframe(name)
    closed = published.closed(frame, now - SETTLING)
    table = lake.table(candle_name(name))
    head = table.current_snapshot()
    ours = _candles(engine, table, exchange, symbol, closed.start, closed.end)
    coverage = _coverage(lake, engine, table, exchange, symbol, closed, frame)
    return Reconciled(
        exchange,
        symbol,
        name,
        closed.start,
        closed.end,
        closed.source,
        None if head is None else head.snapshot_id,
        tuple(compare(ours, closed, frame, coverage)),
    )


def outcomes(reconciled: Iterable[Reconciled]) -> dict[str, int]:
    """How many windows there are, and how many came out how."""
    counts = dict.fromkeys(("windows", *Outcome), 0)
    for each in reconciled:
        for window in each.windows:
            counts["windows"] += 1
            counts[window.outcome] += 1
    return {str(name): count for name, count in counts.items()}


def unexplained(reconciled: Iterable[Reconciled]) -> bool:
    """Whether a window did not come out as it should, for no reason known of our recording."""
    return any(
        _is_odd(window.outcome, window.reason) for each in reconciled for window in each.windows
    )


def unexplained_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of such windows."""
    return [row for row in rows if _is_odd(row["outcome"], row["reason"])]


def _is_odd(outcome: str, reason: str | None) -> bool:
    return outcome != Outcome.MATCHED and reason is None


def symbols_of(lake: Lake, engine: Engine, name: str, day: date) -> list[tuple[str, str]]:
    """The exchanges and symbols that have candles of that timeframe on that day."""
    files = planned(lake.table(candle_name(name)), CANDLE.schema, of_day(CANDLE.day, day))
    rows = engine.query(
        "select distinct exchange, symbol from candles order by exchange, symbol",
        {"candles": files},
    )
    return [(row["exchange"], row["symbol"]) for row in rows.to_pylist()]


def _candles(
    engine: Engine, table: Table, exchange: str, symbol: str, start: datetime, end: datetime
) -> dict[datetime, Figures]:
    of_symbol = And(EqualTo("exchange", exchange), EqualTo("symbol", symbol))
    files = planned(table, CANDLE.schema, And(of_symbol, between("window_start", start, end)))
    rows = engine.query(
        f"select window_start, {', '.join(FIGURES)} from candles c join wanted w "
        "on c.exchange = w.exchange and c.symbol = w.symbol",
        {"candles": files, "wanted": _wanted(exchange, symbol)},
    )
    found: dict[datetime, Figures] = {}
    for row in rows.to_pylist():
        at = row.pop("window_start")
        if start <= at < end:
            found[at] = {name: Decimal(value) for name, value in row.items()}
    return found


def _coverage(
    lake: Lake,
    engine: Engine,
    table: Table,
    exchange: str,
    symbol: str,
    published: Published,
    frame: Timeframe,
) -> Coverage:
    of_symbol = And(EqualTo("exchange", exchange), EqualTo("symbol", symbol))
    [edges] = engine.query(
        "select min(window_start) as first, max(window_start) as last from candles c join wanted w "
        "on c.exchange = w.exchange and c.symbol = w.symbol",
        {
            "candles": planned(table, CANDLE.schema, of_symbol),
            "wanted": _wanted(exchange, symbol),
        },
    ).to_pylist()
    standing = In("state", [State.OPEN.value, State.UNREPAIRABLE.value])
    gaps = [
        (gap.before_at, gap.after_at, gap.missing)
        for gap in recorded_gaps(lake, engine, And(of_symbol, standing))
        if (gap.exchange, gap.symbol) == (exchange, symbol)
        and gap.state != State.REPAIRED
        and gap.before_at < published.end + frame.length
        and gap.after_at >= published.start
    ]
    return Coverage(edges["first"], edges["last"], gaps)


def _wanted(exchange: str, symbol: str) -> pa.Table:
    return pa.table({"exchange": [exchange], "symbol": [symbol]})


def _texts(figures: Figures | None) -> list[tuple[str, str]] | None:
    """As a map of plain notation, for an exponent is no figure for people."""
    if figures is None:
        return None
    return [(name, f"{value:f}") for name, value in figures.items()]
