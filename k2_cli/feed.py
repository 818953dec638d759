"""``k2 feed``: live frames of the exchanges into Kafka."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.errors import BrokerUnavailable, UsageError
from k2_market.exchanges import EXCHANGES, exchange

BASES = ("BTC", "ETH", "SOL")


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
    instrument: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXCHANGE:SYMBOL",
            help="What to record, such as kraken:BTC-USD; may be given several times. "
            "[BTC, ETH and SOL on every exchange]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Record the trades of the exchanges until stopped.

    Connections that end are made again, endlessly. On Ctrl-C or SIGTERM everything received is
    delivered to Kafka first.
    """
    wanted = instruments(instrument or default_instruments())
    from k2_assets.pacing import committed_offsets
    from k2_assets.resources import BROKER_FOLDER
    from k2_feeds.adapters import adapter
    from k2_feeds.broker import broker_settings
    from k2_feeds.feed import Feed, Plan, run_feeds
    from k2_feeds.kafka import from_environment
    from k2_lake.catalog import Lake, LakeSettings

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
            Plan(adapter(name), symbols, endpoint),
            settings,
            committed_offsets(lake, settings, name) if settings.embedded else None,
        )
        for name, symbols in wanted.items()
    ]
    asyncio.run(run_feeds(feeds))


def default_instruments() -> list[str]:
    """BTC, ETH and SOL in the quote currency, and of the contract, of each exchange's example."""
    return [
        f"{e.name}:{base}-{e.example.partition('-')[2]}"
        for e in EXCHANGES.values()
        for base in BASES
    ]


def instruments(arguments: list[str]) -> dict[str, tuple[str, ...]]:
    """Symbols by exchange of ``EXCHANGE:SYMBOL``. Raises UsageError or UnknownName."""
    found: dict[str, tuple[str, ...]] = {}
    for argument in arguments:
        name, separator, symbol = argument.partition(":")
        if not separator or "-" not in symbol:
            raise UsageError(
                f"--instrument {argument!r} was not EXCHANGE:BASE-QUOTE, such as kraken:BTC-USD."
            )
        known = exchange(name).name
        found[known] = (*found.get(known, ()), symbol.upper())
    return found
