"""``k2 feed``: live frames of the exchanges into Kafka."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.errors import BrokerUnavailable


def feed(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose broker and tables are meant.")
    ] = DEFAULT_HOME,
    endpoint: Annotated[
        str | None,
        typer.Option(
            envvar="K2_FEED_ENDPOINT",
            help="Connect here, not to the exchanges: ws://127.0.0.1:9000 for a simulator.",
        ),
    ] = None,
    instruments: Annotated[
        Path | None,
        typer.Option(
            help="The file that says what to record. [HOME/instruments.yaml, else K2's own]",
            show_default=False,
        ),
    ] = None,
    exchange: Annotated[
        list[str] | None,
        typer.Option(help="Of it, only this exchange; several times.", show_default=False),
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="Of it, only this symbol, in any spelling.", show_default=False),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Of it, only this kind: trades or quotes.", show_default=False),
    ] = None,
) -> None:
    """Record what instruments.yaml lists until stopped.

    It names the exchanges, and of each the kinds (trades, quotes) and symbols. Connections that end
    are made again, endlessly. On Ctrl-C or SIGTERM everything received is delivered to Kafka first.
    """
    from k2_assets.pacing import committed_offsets
    from k2_assets.resources import BROKER_FOLDER
    from k2_cli.selection import read_file, selection_file
    from k2_feeds.adapters import adapter
    from k2_feeds.broker import broker_settings
    from k2_feeds.feed import Feed, Plan, run_feeds
    from k2_feeds.kafka import from_environment
    from k2_feeds.selection import narrowed
    from k2_lake.catalog import Lake, LakeSettings

    listed = read_file(selection_file(home, instruments))
    wanted = narrowed(listed, exchange or (), symbol or (), kind or ())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = from_environment(os.environ) or broker_settings(home.absolute() / BROKER_FOLDER)
    if settings is None:
        raise BrokerUnavailable(
            f"no broker: K2_KAFKA_BOOTSTRAP is not set and none is running for {home}. "
            "Set it, or start everything with `k2 demo`."
        )
    lake = Lake(LakeSettings.from_environment(os.environ, home))
    feeds = [
        Feed(
            Plan(adapter(w.exchange), w.symbols, endpoint),
            settings,
            committed_offsets(lake, settings, w.exchange) if settings.embedded else None,
        )
        for w in wanted
        if "trades" in w.kinds
    ]
    asyncio.run(run_feeds(feeds))
