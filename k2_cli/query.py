"""``k2 query``: ask an API, see the rows or write them to a file."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from k2_market.errors import UsageError

CANDLES, LIVE = "Candles", "Live"


class What(StrEnum):
    """What can be asked for."""

    TRADES = "trades"
    QUOTES = "quotes"
    OHLCV = "ohlcv"
    GAPS = "gaps"
    CONDITION = "condition"
    RECONCILIATION = "reconciliation"
    REJECTED = "rejected"
    INSTRUMENTS = "instruments"
    SYMBOLS = "symbols"
    LIVE = "live"


class Form(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    PARQUET = "parquet"
    ARROW = "arrow"


class Order(StrEnum):
    """Which row comes first."""

    ASC = "asc"
    DESC = "desc"


class Fill(StrEnum):
    """What stands for a window without a trade."""

    NONE = "none"
    PREV = "prev"


def query(
    what: Annotated[What, typer.Argument(help="What to ask for.", show_default=False)],
    symbol: Annotated[
        str | None,
        typer.Option(help="In any spelling; several with commas. [all]", show_default=False),
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(help="Such as kraken; several with commas. [all]", show_default=False),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Inclusive: 2024-08-08, or an instant with a zone, 2024-08-08T23:55:00Z.",
            show_default=False,
        ),
    ] = None,
    end: Annotated[str | None, typer.Option(help="Exclusive. [open]", show_default=False)] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="The most rows. [50 in a table, else all]", show_default=False),
    ] = None,
    order: Annotated[
        Order | None,
        typer.Option(help="desc: the last row first. [desc in a table]", show_default=False),
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(
            help="Only these, with commas. [the main ones in a table, else all]",
            show_default=False,
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="A tag, an instant or a snapshot id: the tables as they were. [now]",
            show_default=False,
        ),
    ] = None,
    format: Annotated[  # noqa: A002
        Form | None,
        typer.Option(help="[what --out ends with, else table, in a pipe csv]", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write. [standard output]", show_default=False),
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Only say how much it would be.")] = False,
    timeframe: Annotated[
        str | None,
        typer.Option(
            help="1m, 7m, 4h, 1d, 1w, 1M. [1m]", show_default=False, rich_help_panel=CANDLES
        ),
    ] = None,
    fill: Annotated[
        Fill | None,
        typer.Option(
            help="prev: windows without a trade too, with the close before.",
            show_default=False,
            rich_help_panel=CANDLES,
        ),
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option(
            help="Where days and longer begin at midnight: Europe/Berlin. [UTC]",
            show_default=False,
            rich_help_panel=CANDLES,
        ),
    ] = None,
    consolidated: Annotated[
        bool,
        typer.Option(
            "--consolidated", help="One candle across the exchanges.", rich_help_panel=CANDLES
        ),
    ] = False,
    channel: Annotated[
        str,
        typer.Option(help="trades, quotes, ohlcv.1m; several with commas.", rich_help_panel=LIVE),
    ] = "trades",
    url: Annotated[
        str | None,
        typer.Option(
            envvar="K2_API_URL",
            help="The API's address. [http://127.0.0.1:8000]",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="K2_API_KEY", help="Your key: k2 keys create.", show_default=False),
    ] = None,
) -> None:
    """Ask an API for rows: a table to read, or a file.

    live goes on until Ctrl-C, or for --limit rows.

    Example: k2 query ohlcv --symbol BTC-USDT --exchange binance --timeframe 7m --start 2024-08-08
    """
    from k2_cli.querying import asked, follow, show, show_count
    from k2_client import K2, Patience

    said = {
        "symbol": symbol,
        "exchange": exchange,
        "start": start,
        "end": end,
        "limit": limit,
        "order": None if order is None else order.value,
        "fields": None if fields is None else fields.split(","),
        "as_of": as_of,
        "timeframe": timeframe,
        "fill": None if fill is None else fill.value,
        "tz": tz,
        "consolidated": consolidated or None,
    }
    chosen = format or form_of(out, sys.stdout.isatty())
    # Someone waits: what is not there is told soon, a rate limit is sat through.
    with K2(url, key, patience=Patience(attempts=3)) as k2:
        if what is What.LIVE:
            follow(k2, said, channel, chosen)
        elif count:
            show_count(asked(k2, what, said).count())
        else:
            show(k2, what, said, chosen, out)


def form_of(out: Path | None, terminal: bool) -> Form:
    """The form that the file's name ends with, else a table where someone reads it."""
    if out is None:
        return Form.TABLE if terminal else Form.CSV
    name = {"jsonl": "ndjson", "arrows": "arrow"}.get(suffix := out.suffix.lower()[1:], suffix)
    if name not in set(Form) - {Form.TABLE}:
        raise UsageError(f"the name {out.name!r} does not tell a format. Say which with --format.")
    return Form(name)
