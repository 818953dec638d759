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


def feed(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose broker and tables are meant.")
    ] = DEFAULT_HOME,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            envvar="K2_FEED_ENDPOINT",
            help="Connect here, not to the exchanges: ws://127.0.0.1:9000 for a simulator. "
            "Several, with commas or given several times, stand in for one another.",
            show_default=False,
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
    """Record what instruments.yaml lists into Kafka until stopped.

    It names the exchanges, and of each the kinds (trades, quotes) and symbols. Connections that end
    are made again, endlessly; where an exchange has several addresses, at the next one. TLS
    certificates are always verified; K2_CA_FILE names a PEM file of authorities to trust beside the
    system's.

    While Kafka is away, frames wait in memory (64 MB an exchange), then the exchanges are held
    back. On Ctrl-C or SIGTERM everything received is delivered first; what Kafka has not taken
    within ten seconds is kept in HOME/undelivered and delivered at the next start. HOME/feeds.json
    shows the state of all feeds, written every two seconds.
    """
    from k2_assets.pacing import committed_offsets
    from k2_assets.resources import BROKER_FOLDER
    from k2_cli.selection import listed_symbols, read_file, selection_file
    from k2_feeds.adapters import adapter
    from k2_feeds.kafka.broker import broker_settings
    from k2_feeds.kafka.cluster import from_environment, require_answer
    from k2_feeds.live.feed import Feed, Plan, run_feeds
    from k2_feeds.live.tls import from_environment as tls_from_environment
    from k2_feeds.selection import narrowed
    from k2_lake.catalog import Lake, LakeSettings

    endpoints, tls = addresses(endpoint or []), tls_from_environment(os.environ)
    where = LakeSettings.from_environment(os.environ, home)
    # What else answers at these addresses lists what it likes.
    listed = {} if endpoints else listed_symbols(where)
    recorded = read_file(selection_file(home, instruments), listed)
    wanted = narrowed(recorded, exchange or (), symbol or (), kind or ())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = from_environment(os.environ) or broker_settings(home.absolute() / BROKER_FOLDER)
    if settings is None:
        raise BrokerUnavailable(
            f"no broker: K2_KAFKA_BOOTSTRAP is not set and none is running for {home}. "
            "Set it, or start everything with `k2 demo`."
        )
    require_answer(settings)
    lake = Lake(where)
    feeds = [
        Feed(
            Plan(adapter(w.exchange), each, w.symbols, endpoints),
            settings,
            committed_offsets(lake, settings, w.exchange, each) if settings.embedded else None,
            home=home.absolute(),
            tls=tls,
        )
        for w in wanted
        for each in w.kinds
    ]
    asyncio.run(run_feeds(feeds, state=home.absolute() / "feeds.json"))


def addresses(endpoints: list[str]) -> tuple[str, ...]:
    """The addresses to try in turn. Raises UsageError for one that is no WebSocket's."""
    found = [part.strip() for text in endpoints for part in text.split(",") if part.strip()]
    for url in found:
        if not url.startswith(("ws://", "wss://")):
            raise UsageError(f"--endpoint {url!r} was not ws://HOST:PORT or wss://HOST:PORT.")
    return tuple(url.rstrip("/") for url in found)
