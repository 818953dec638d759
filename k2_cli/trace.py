"""``k2 trace``: every figure followed back to the frames as they came."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_cli.lake import Format, Home
from k2_market.errors import UnknownName


def trace(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="gold.ohlcv_1m ... or gold.trades.")
    ],
    exchange: Annotated[str, typer.Argument(metavar="EXCHANGE", help="Such as binance.")],
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="BTC-USDT, or BTCUSDT.")],
    which: Annotated[
        str,
        typer.Argument(
            metavar="WINDOW_START|TRADE_ID", help="2024-08-08T23:55:00Z, or the id of a trade."
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most trades shown.")] = 10,
    home: Home = DEFAULT_HOME,
    format: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TABLE,  # noqa: A002
) -> None:
    """Follow a candle, or a trade, back to the bytes that the exchange sent.

    Shows its trades, the rows of silver that report them, repeats included, the raw frames with
    their place in Kafka, and the commit of each table that brought them. Last it says whether the
    candle, made anew from all its trades, is the same to the digit.

    Example: k2 trace gold.ohlcv_1m binance BTC-USDT 2024-08-08T23:55:00Z
    """
    from k2_cli.show_trace import write_trace
    from k2_lake.catalog import LakeSettings
    from k2_lake.duckdb_engine import DuckDBEngine
    from k2_lake.read_sql import existing_lake
    from k2_lake.tables import TRADES_TABLE, candle_name
    from k2_lake.travel.trace import trace_candle, trace_trade
    from k2_lake.travel.trace_lookup import find_candle, find_trade
    from k2_market.timeframes import TIMEFRAMES

    lake = existing_lake(LakeSettings.from_environment(os.environ, home))
    engine = DuckDBEngine(io=lake.io)
    frames = {candle_name(name): frame for name, frame in TIMEFRAMES.items()}
    if table == TRADES_TABLE:
        found = trace_trade(lake, engine, find_trade(lake, engine, exchange, symbol, which))
    elif table in frames:
        candle = find_candle(lake, engine, frames[table], exchange, symbol, which)
        found = trace_candle(lake, engine, frames[table], candle, limit)
    else:
        raise UnknownName("table to trace", table, [TRADES_TABLE, *frames])
    write_trace(found, as_json=format is Format.JSON)
    if not found.verified:
        raise typer.Exit(1)
