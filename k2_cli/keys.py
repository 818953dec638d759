"""``k2 keys``: who may ask the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME

keys = typer.Typer(help="API keys: make, list and revoke them.", no_args_is_help=True)

_Home = Annotated[Path, typer.Option(envvar="K2_HOME", help="The folder whose API is meant.")]
_Name = Annotated[str, typer.Argument(help="What the key is called: who or what uses it.")]


@keys.callback()
def _keys() -> None:
    """API keys: make, list and revoke them. A running API follows at once."""


@keys.command("create")
def create(
    name: _Name,
    home: _Home = DEFAULT_HOME,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it may do: read, batch, export, live or state; may be given several times. "
            "[all but state]",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            help="How often it may ask, such as 1000/minute. [that of the API]", show_default=False
        ),
    ] = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept.

    Example: k2 keys create research --scope read --scope export --rate 1000/minute
    """
    from k2_api.guard.keys import DEFAULT_SCOPES, create_key

    typer.echo(create_key(home.absolute(), name, scope or DEFAULT_SCOPES, rate))
    typer.echo("Keep it now: it is not shown again.", err=True)


@keys.command("list")
def show(home: _Home = DEFAULT_HOME) -> None:
    """List the keys: name, id (the first part of a key), scopes, rate and when it was made."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from k2_api.guard.keys import read_keys

    table = Table("name", "key", "scopes", "rate", "made", box=SIMPLE_HEAD)
    found = read_keys(home.absolute())
    for key in found:
        scopes = ",".join(key.scopes)
        made = f"{key.created_at:%Y-%m-%d %H:%MZ}"
        table.add_row(key.name, f"k2_{key.id}_…", scopes, key.rate or "", made)
    Console().print(table if found else "There is no key. Make one: `k2 keys create NAME`.")


@keys.command("revoke")
def revoke(name: _Name, home: _Home = DEFAULT_HOME) -> None:
    """Take a key away. Whoever uses it is refused from the next request on."""
    from k2_api.guard.keys import revoke_key

    key = revoke_key(home.absolute(), name)
    typer.echo(f"revoked {key.name} (k2_{key.id}_…).")
