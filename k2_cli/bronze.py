"""``k2 bronze``: what only a person may decide about the raw tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.errors import BrokerUnavailable
from k2_market.exchanges import exchange as known_exchange

bronze = typer.Typer(help="Raw tables and their place in Kafka.", no_args_is_help=True)


@bronze.callback()
def _bronze() -> None:
    """Raw tables and their place in Kafka."""


@bronze.command("new-epoch")
def new_epoch(
    exchange: Annotated[str, typer.Argument(help="The exchange whose topic was made anew.")],
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose broker and tables are meant.")
    ] = DEFAULT_HOME,
) -> None:
    """Go on with a topic that was recreated, moved or cut, at the first offset it still holds.

    Rows that bronze has stay; what the topic lost before it was read is lost. The rows to come are
    of a new epoch, so equal offsets are never taken for each other.
    """
    name = known_exchange(exchange).name
    from k2_assets.resources import BROKER_FOLDER
    from k2_feeds.broker import broker_settings
    from k2_feeds.kafka import from_environment
    from k2_feeds.reader import TopicReader
    from k2_feeds.topics import raw_topic
    from k2_lake.bronze import begin_epoch
    from k2_lake.catalog import Lake, LakeSettings
    from k2_lake.tables import bronze_name

    settings = from_environment(os.environ) or broker_settings(home.absolute() / BROKER_FOLDER)
    if settings is None:
        raise BrokerUnavailable(
            f"no broker: K2_KAFKA_BOOTSTRAP is not set and none is running for {home}."
        )
    table = Lake(LakeSettings.from_environment(os.environ, home)).table(bronze_name(name))
    with TopicReader(settings, raw_topic("trades", name)) as reader:
        first = {partition: low for partition, (low, _) in reader.watermarks().items()}
        at = begin_epoch(table, reader.topic, reader.cluster_id(), first)
    typer.echo(f"{bronze_name(name)} goes on with epoch {at.epoch} at offsets {dict(at.offsets)}.")
