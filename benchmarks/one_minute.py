"""1m candles of a day of 10 million trades, beside the bare query over the same files."""

from __future__ import annotations

from pathlib import Path

import duckdb

from benchmarks.figures import Figure, Progress, Watch
from benchmarks.market import Market
from benchmarks.stages import new_lake
from k2_lake.candles import build_candles, candle_sql
from k2_lake.catalog import Lake
from k2_lake.commit import commit
from k2_lake.duckdb_engine import PRELUDE, DuckDBEngine
from k2_lake.history import Mode
from k2_lake.locations import local_path
from k2_lake.scan import of_day, planned
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.errors import InvariantBroken
from k2_market.records import TRADE
from k2_market.timeframes import TIMEFRAMES

TRADES_PER_FILE = 1_000_000
TO_REACH = 1.5
TABLE = candle_name("1m")


def measure(
    market: Market, folder: Path, *, trades: int, rounds: int, tell: Progress
) -> list[Figure]:
    """The asset's function with planning, comparing and committing, and the bare query, in turn."""
    lake, engine = new_lake(folder / "one-minute"), DuckDBEngine()
    _fill(lake, market, trades, tell)
    plain = duckdb.connect(":memory:")
    plain.execute(PRELUDE)
    watches = []
    for number in range(rounds + 1):
        tell(f"1m candles, round {number} of {rounds}")
        watch = Watch()
        with watch("bare"):
            expected = _bare(plain, lake, market)
        # From nothing each time: a table that has the candles already would not be written.
        lake.catalog.drop_table(TABLE)
        lake.table(TABLE)
        with watch("candles"):
            built = build_candles(lake, engine, "1m", market.day)
        if built.figures["candles"] != expected:
            raise InvariantBroken(f"{built.figures['candles']} candles, the query made {expected}")
        watches.append(watch)
    plain.close()
    return _figures(watches[1:], trades)


def _fill(lake: Lake, market: Market, trades: int, tell: Progress) -> None:
    table = lake.table(TRADES_TABLE)
    order = [(column, "ascending") for column in TRADE.order]
    for first in range(0, trades, TRADES_PER_FILE):
        tell(f"writing {first:,} of {trades:,} trades")
        rows = market.trades(first, min(TRADES_PER_FILE, trades - first), market.day)
        commit(table, add=[rows.sort_by(order)], mode=Mode.APPEND, days=[market.day])


def _bare(connection: duckdb.DuckDBPyConnection, lake: Lake, market: Market) -> int:
    files = planned(lake.table(TRADES_TABLE), TRADE.schema, of_day("trade_date", market.day))
    paths = [local_path(p) for p in files.paths]
    connection.read_parquet(paths).create_view("trades", replace=True)
    return connection.sql(candle_sql(TIMEFRAMES["1m"])).to_arrow_table().num_rows


def _figures(watches: list[Watch], trades: int) -> list[Figure]:
    ratio = [w.seconds["candles"] / w.seconds["bare"] for w in watches]
    return [
        Figure("1m candles, bare query", "trades/s", [trades / w.seconds["bare"] for w in watches]),
        Figure("1m candles", "trades/s", [trades / w.seconds["candles"] for w in watches]),
        Figure("1m candles / bare query", "ratio", ratio, at_most=TO_REACH),
    ]
