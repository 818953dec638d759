"""The command ``k2``: its sub-commands, and what becomes of an error.

Heavy libraries are imported inside the commands, so that ``k2 --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from k2_cli.api import api
from k2_cli.backfill import backfill
from k2_cli.bronze import bronze
from k2_cli.dagster_prune import dagster
from k2_cli.dagster_ready import ready
from k2_cli.demo import demo
from k2_cli.dlq import dlq
from k2_cli.doctor import doctor
from k2_cli.feed import feed
from k2_cli.instruments import instruments
from k2_cli.keys import keys
from k2_cli.lake import lake
from k2_cli.lake_travel import diff, rollback, snapshots, tag
from k2_cli.load import load
from k2_cli.publish import publish
from k2_cli.query import query
from k2_cli.reconcile import reconcile
from k2_cli.repair import repair
from k2_cli.spark import spark
from k2_cli.sql import sql
from k2_cli.topics import topics
from k2_cli.trace import trace
from k2_market.errors import K2Error, QueryRefused, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="k2",
    help="Market data from exchange feeds to exact candles.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("demo")(demo)
app.command("feed")(feed)
app.command("load")(load)
app.command("publish")(publish)
app.command("repair")(repair)
app.command("backfill")(backfill)
app.command("reconcile")(reconcile)
app.command("sql")(sql)
app.command("query")(query)
app.command("trace")(trace)
app.command("api")(api)
app.command("doctor")(doctor)
app.add_typer(keys, name="keys")
app.add_typer(dlq, name="dlq")
app.add_typer(dagster, name="dagster")
dagster.command("ready")(ready)
app.add_typer(lake, name="lake")
lake.command("snapshots")(snapshots)
lake.command("tag")(tag)
lake.command("diff")(diff)
lake.command("rollback")(rollback)
app.add_typer(bronze, name="bronze")
app.add_typer(topics, name="topics")
app.add_typer(spark, name="spark")
app.add_typer(instruments, name="instruments")


def run() -> None:
    """The entry point: a user's mistake is one line and exit 2, another failure one line and 1."""
    try:
        app()
    except K2Error as error:
        print(f"k2: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2 if isinstance(error, UsageError | QueryRefused) else 1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does: nothing is left to say, or to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"k2 {version('k2-market-data')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Market data from exchange feeds to exact candles."""
