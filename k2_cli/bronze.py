"""``k2 bronze``: what only a person may decide about the raw tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.errors import BrokerUnavailable, TopicMissing
from k2_market.exchanges import exchange as known_exchange
from k2_market.kinds import Kind

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
    kind: Annotated[Kind, typer.Option(help="Whose topic.")] = Kind.TRADES,
) -> None:
    """Go on with a topic that was recreated, moved or cut, at the first frame it still holds.

    Rows that bronze has stay; what the topic lost before it was read is lost. A topic that was only
    cut is not read twice. The rows to come are of a new epoch, so equal offsets are never taken for
    each other.
    """
    name = known_exchange(exchange).name
    from k2_assets.resources import BROKER_FOLDER
    from k2_feeds.kafka.admin import topic_id
    from k2_feeds.kafka.broker import broker_settings
    from k2_feeds.kafka.cluster import from_environment
    from k2_feeds.kafka.reader import TopicReader
    from k2_feeds.kafka.topics import raw_topic
    from k2_lake.bronze import begin_epoch, position
    from k2_lake.catalog import Lake, LakeSettings
    from k2_lake.tables import bronze_name

    settings = from_environment(os.environ) or broker_settings(home.absolute() / BROKER_FOLDER)
    if settings is None:
        raise BrokerUnavailable(
            f"no broker: K2_KAFKA_BOOTSTRAP is not set and none is running for {home}."
        )
    table = Lake(LakeSettings.from_environment(os.environ, home)).table(bronze_name(name, kind))
    with TopicReader(settings, raw_topic(kind, name)) as reader:
        made_as, cluster = topic_id(settings, reader.topic), reader.cluster_id()
        if made_as is None:
            raise TopicMissing(f"Kafka has no topic {reader.topic}. `k2 topics create` makes it.")
        before = position(table)
        read = before.offsets if before is not None and before.is_of(cluster, made_as) else {}
        first = reader.next_frames(
            {
                p: min(max(low, read.get(p, low)), high)
                for p, (low, high) in reader.watermarks().items()
            }
        )
        at = begin_epoch(table, reader.topic, cluster, first, made_as)
    typer.echo(
        f"{bronze_name(name, kind)} goes on with epoch {at.epoch} at offsets {dict(at.offsets)}."
    )
