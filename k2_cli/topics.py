"""``k2 topics``: the raw topics of a Kafka cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from k2_market.errors import UsageError
from k2_market.exchanges import EXCHANGES
from k2_market.exchanges import exchange as known_exchange
from k2_market.kinds import Kind

if TYPE_CHECKING:
    from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings

topics = typer.Typer(help="The topics of a Kafka cluster.", no_args_is_help=True)

Exchange = Annotated[
    list[str] | None,
    typer.Option(
        help="Only of this exchange; may be given several times. [all]", show_default=False
    ),
]
Partitions = Annotated[int, typer.Option(min=1, help="Partitions of a topic.")]
Replication = Annotated[int, typer.Option(min=1, help="Brokers that keep a copy of it.")]
RetentionDays = Annotated[
    float, typer.Option(help="Days a frame is kept at least; -1 keeps all of them.")
]
Compression = Annotated[
    str, typer.Option(help="`producer` keeps the feed's zstd as it is; `zstd` compresses it anew.")
]
Typed = Annotated[bool, typer.Option("--typed", help="The typed topics of `k2 publish` as well.")]


@topics.callback()
def _topics() -> None:
    """The topics of the Kafka cluster that K2_KAFKA_BOOTSTRAP names."""


@topics.command("create")
def create(
    exchange: Exchange = None,
    partitions: Partitions = 4,
    replication: Replication = 1,
    retention_days: RetentionDays = 7,
    compression: Compression = "producer",
    typed: Typed = False,
) -> None:
    """Make the raw topics that do not exist yet; those that do are left as they are.

    Messages bear the time of their arrival and are never compacted.
    """
    names = _names(exchange, typed=typed)
    wanted = _settings(partitions, replication, retention_days, compression)
    admin = _admin()
    made = admin.create(names, wanted)
    _show(admin, names, wanted, made)


@topics.command("list")
def show(
    exchange: Exchange = None,
    partitions: Partitions = 4,
    replication: Replication = 1,
    retention_days: RetentionDays = 7,
    compression: Compression = "producer",
    typed: Typed = False,
) -> None:
    """Show the raw topics, their settings, and what differs from those that the options ask for."""
    wanted = _settings(partitions, replication, retention_days, compression)
    _show(_admin(), _names(exchange, typed=typed), wanted, ())


def _names(exchanges: list[str] | None, *, typed: bool) -> list[str]:
    from k2_feeds.kafka.topics import raw_topic, typed_topic

    wanted = [known_exchange(name).name for name in exchanges or EXCHANGES]
    kinds_of_topics = (raw_topic, typed_topic) if typed else (raw_topic,)
    return [
        topic(kind, name)
        for name in dict.fromkeys(wanted)
        for kind in Kind
        for topic in kinds_of_topics
    ]


def _settings(
    partitions: int, replication: int, retention_days: float, compression: str
) -> TopicSettings:
    from k2_feeds.kafka.admin import COMPRESSIONS, DAY_MS, TopicSettings

    if retention_days <= 0 and retention_days != -1:
        raise UsageError(f"--retention-days was {retention_days:g}. Give days, or -1 to keep all.")
    if compression not in COMPRESSIONS:
        raise UsageError(f"--compression was {compression!r}. Use {' or '.join(COMPRESSIONS)}.")
    retention_ms = -1 if retention_days == -1 else round(retention_days * DAY_MS)
    return TopicSettings(partitions, replication, retention_ms, compression)


def _admin() -> TopicsAdmin:
    from k2_feeds.kafka.admin import TopicsAdmin
    from k2_feeds.kafka.cluster import BOOTSTRAP, from_environment

    settings = from_environment(os.environ)
    if settings is None:
        raise UsageError(
            f"{BOOTSTRAP} is not set. Topics are made on a Kafka cluster; the embedded broker of "
            "`k2 demo` makes its own at their first use."
        )
    return TopicsAdmin(settings)


def _show(
    admin: TopicsAdmin, names: list[str], wanted: TopicSettings, made: list[str] | tuple[()]
) -> None:
    from k2_feeds.kafka.admin import differences

    found = admin.states(names)
    for name in names:
        if name not in found:
            typer.echo(f"{name}: missing; `k2 topics create` makes it")
            continue
        state = found[name]
        settings = ", ".join(f"{key}={value}" for key, value in state.config.items())
        typer.echo(
            f"{name}: {'created' if name in made else 'exists'}, {state.partitions} partitions, "
            f"replication {state.replication}, {settings}"
        )
        for difference in differences(state, wanted):
            typer.echo(f"  differs: {difference}")
