"""``k2 load``: archives through the whole chain, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_cli.show import run_shown
from k2_market.exchanges import exchange as known_exchange
from k2_market.kinds import Kind


def load(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", help="CSV or JSON, plain, .gz or .zip.", show_default=False
        ),
    ],
    exchange: Annotated[str, typer.Option(help="Where they were made: binance, kraken.")],
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="Folder for all state, Dagster's included.")
    ] = DEFAULT_HOME,
    kind: Annotated[Kind, typer.Option(help="What the files hold.")] = Kind.TRADES,
    symbol: Annotated[
        str | None,
        typer.Option(help="Whose trades, such as BTC-USDT. [the files' names or rows say]"),
    ] = None,
) -> None:
    """Load files of past trades or quotes, and print a summary.

    The format is told by the first line:

    - Binance Public Data, trades and aggTrades, spot and futures, and bookTicker of futures, as
      downloaded; a .CHECKSUM file beside is verified
    - Kraken's time and sales, and saved answers of its REST endpoint Trades
    - the CSV of K2 v0.1.0, of trades and of quotes

    Rows go the way of live frames: Kafka, bronze, silver, gold, candles, checks. What is there
    already, live or from a file, is not added again. A row that cannot be read is kept in
    silver.rejected with its line; `k2 dlq list` shows it.

    The home must not be in use. While `k2 demo` runs on it, put files into
    HOME/landing/EXCHANGE/KIND instead: it loads them by itself.

    Example: k2 load --exchange binance_usdm --kind quotes BTCUSDT-bookTicker-2024-03-01.zip
    """
    name = known_exchange(exchange).name
    from k2_cli.loading import load_archives, opened

    archives = opened(name, kind, paths, symbol)
    total = sum(archive.content.size for archive in archives)
    run_shown("Load", kind, lambda shown: load_archives(home, kind, archives, shown), total)
