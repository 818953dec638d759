"""``k2 instruments``: what the exchanges list, and what their names mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from k2_cli.home import DEFAULT_HOME
from k2_cli.show import plain
from k2_market.errors import FeedError, UsageError
from k2_market.exchanges import exchange as known_exchange

instruments = typer.Typer(help="What the exchanges list, and since when.", no_args_is_help=True)

WIDTH = 140

Home = Annotated[Path, typer.Option(envvar="K2_HOME", help="The folder whose tables are meant.")]
Exchange = Annotated[
    list[str] | None,
    typer.Option(
        help="Only of this exchange; may be given several times. [all]", show_default=False
    ),
]


@instruments.callback()
def _instruments() -> None:
    """What the exchanges list: symbols, names, tick and lot sizes, and since when."""


@instruments.command("list")
def show(
    home: Home = DEFAULT_HOME,
    exchange: Exchange = None,
    symbol: Annotated[
        str | None,
        typer.Option(help="Only this one, in any spelling: BTC-USD, XXBTZUSD.", show_default=False),
    ] = None,
    past: Annotated[bool, typer.Option("--past", help="Also terms that no longer hold.")] = False,
) -> None:
    """Show the instruments of gold.instruments."""
    from k2_lake.catalog import Lake, LakeSettings
    from k2_lake.instruments import history, resolve

    names = {known_exchange(name).name for name in exchange or ()}
    versions = [
        v
        for v in history(Lake(LakeSettings.from_environment(os.environ, home)))
        if not names or v.terms.exchange in names
    ]
    if not versions:
        raise UsageError("no instruments are known yet. Ask the exchanges: k2 instruments refresh")
    wanted = None if symbol is None else resolve(versions, symbol)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in ("exchange", "symbol", "names", "type", "tick", "lot", "contract", "status"):
        table.add_column(column, justify="right" if column in ("tick", "lot") else "left")
    for column in ("from", "to")[: 1 + past]:
        table.add_column(column)
    for v in versions:
        terms = v.terms
        if (v.valid_to is not None and not past) or wanted not in (None, terms.symbol):
            continue
        size = "" if terms.contract_size is None else plain(terms.contract_size)
        cells = [
            terms.exchange,
            terms.symbol,
            " ".join(terms.names),
            terms.type,
            plain(terms.tick_size),
            plain(terms.lot_size),
            f"{size} {terms.contract_currency or ''}".strip(),
            terms.status,
            f"{v.valid_from:%Y-%m-%d %H:%M}",
            f"{v.valid_to:%Y-%m-%d %H:%M}" if v.valid_to else "",
        ]
        table.add_row(*cells[: len(table.columns)])
    console = Console()
    # A line that a narrow terminal wraps is better than one that is cut.
    Console(width=max(console.width, WIDTH)).print(table)


@instruments.command("refresh")
def ask(home: Home = DEFAULT_HOME, exchange: Exchange = None) -> None:
    """Ask the exchanges what they list now, and keep what changed.

    While Dagster runs it does this once a day by itself. K2_REST_ENDPOINT asks another server than
    the exchanges' own, such as the simulator. Exits with 1 when an exchange did not answer.
    """
    from k2_assets.instruments import refresh_exchange
    from k2_feeds.listings import LISTINGS
    from k2_lake.catalog import Lake, LakeSettings

    lake = Lake(LakeSettings.from_environment(os.environ, home))
    failed = False
    for name in [known_exchange(n).name for n in exchange or LISTINGS]:
        try:
            result, unreadable = refresh_exchange(lake, name)
        except FeedError as error:
            failed = True
            typer.echo(f"k2: {error}", err=True)
            continue
        told = ", ".join(f"{count} {what}" for what, count in result.figures.items())
        typer.echo(f"{name}: {told}, {len(unreadable)} unreadable")
    if failed:
        raise typer.Exit(1)
