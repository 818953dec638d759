"""Finding what is to be traced, and saying what there is nearby where it is not there."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And, EqualTo
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.scan import day_of_file, of_day, planned
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_lake.travel.snapshots import written_table
from k2_market.errors import UnknownName, UsageError
from k2_market.exchanges import exchange as known_exchange
from k2_market.instants import instant
from k2_market.instruments import canonical_symbol
from k2_market.records import CANDLE, TRADE
from k2_market.timeframes import Timeframe


def find_candle(
    lake: Lake, engine: Engine, frame: Timeframe, exchange: str, symbol: str, start: str
) -> pa.Table:
    """The candle of that window, as one row.

    ``start`` is an instant with a zone; ``symbol`` canonical, or in an exchange's spelling that the
    rule of symbols knows. Raises UnknownName and UsageError that say what there is.
    """
    name, at = known_exchange(exchange.lower()).name, instant("window_start", start)
    table = written_table(lake, candle_name(frame.name))
    files = planned(table, CANDLE.schema, of_day("window_date", at.date(), [name]))
    rows = engine.query("select * from c order by window_start", {"c": files}, CANDLE.schema)
    rows = rows.filter(pc.equal(rows["exchange"], pa.scalar(name)))
    if not rows.num_rows:
        raise _no_day(table, candle_name(frame.name), name, at.date())
    mine = _of_symbol(rows, symbol)
    found = mine.filter(pc.equal(mine["window_start"], pa.scalar(at, mine["window_start"].type)))
    if not found.num_rows:
        raise _no_window(frame, mine, at)
    return found


def find_trade(lake: Lake, engine: Engine, exchange: str, symbol: str, trade_id: str) -> pa.Table:
    """The trade of that id, as one row. Raises UnknownName and UsageError that say what there is.

    An id is looked for on every day that the trades have.
    """
    name, table = known_exchange(exchange.lower()).name, written_table(lake, TRADES_TABLE)
    canonical = canonical_symbol(symbol) or symbol
    where = And(EqualTo("exchange", name), And(_is(canonical), EqualTo("trade_id", trade_id)))
    wanted = pa.table({"exchange": [name], "symbol": [canonical], "trade_id": [trade_id]})
    sql = (
        "select t.* from t join wanted w on t.exchange = w.exchange and t.symbol = w.symbol"
        " and t.trade_id = w.trade_id"
    )
    files = planned(table, TRADE.schema, where)
    found = engine.query(sql, {"t": files, "wanted": wanted}, TRADE.schema)
    if not found.num_rows:
        raise _no_trade(engine, table, name, canonical, trade_id)
    return found


def _is(symbol: str) -> EqualTo:
    return EqualTo("symbol", symbol)


def _of_symbol(rows: pa.Table, symbol: str) -> pa.Table:
    canonical = canonical_symbol(symbol) or symbol
    mine = rows.filter(pc.equal(rows["symbol"], pa.scalar(canonical)))
    if not mine.num_rows:
        raise UnknownName("symbol", symbol, _texts(rows["symbol"]))
    return mine


def _no_day(table: Table, name: str, exchange: str, day: date) -> UsageError:
    where = EqualTo("exchange", exchange)
    days = sorted({day_of_file(f) for f in planned(table, CANDLE.schema, where).files})
    if not days:
        return UsageError(
            f"{name} has no candle of {exchange}. `k2 lake status` tells what it has."
        )
    nearest = min(days, key=lambda d: abs(d - day))
    return UsageError(
        f"{name} has no candle of {exchange} on {day}. It has {len(days)} days of it, from "
        f"{days[0]} to {days[-1]}; the nearest is {nearest}."
    )


def _no_window(frame: Timeframe, mine: pa.Table, at: datetime) -> UsageError:
    starts: list[Any] = mine["window_start"].to_pylist()
    before = max((s for s in starts if s < at), default=None)
    after = min((s for s in starts if s > at), default=None)
    near = " and ".join(f"{s:%Y-%m-%dT%H:%M:%SZ}" for s in (before, after) if s is not None)
    exchange, symbol = mine["exchange"][0].as_py(), mine["symbol"][0].as_py()
    return UsageError(
        f"{candle_name(frame.name)} has no candle of {exchange} {symbol} that starts at "
        f"{at:%Y-%m-%dT%H:%M:%SZ}: the nearest start at {near}. Windows without a trade have none."
    )


def _no_trade(
    engine: Engine, table: Table, exchange: str, symbol: str, trade_id: str
) -> UsageError:
    files = planned(table, TRADE.schema, EqualTo("exchange", exchange))
    sql = (
        "select t.symbol, count(*) as n, min_by(trade_id, source_sequence) as first,"
        " max_by(trade_id, source_sequence) as last from t group by t.symbol order by t.symbol"
    )
    held = {row["symbol"]: row for row in engine.query(sql, {"t": files}).to_pylist()}
    if symbol not in held:
        return UnknownName("symbol", symbol, held or [f"none, {exchange} has no trades here"])
    row = held[symbol]
    return UsageError(
        f"{TRADES_TABLE} has no trade {trade_id!r} of {exchange} {symbol}. It has {row['n']:,} of "
        f"them, from {row['first']} to {row['last']}; `k2 sql` finds others."
    )


def _texts(column: Any) -> list[str]:
    found: list[str] = column.unique().to_pylist()
    return found
