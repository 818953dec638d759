"""``k2 publish``: typed topics in Avro beside the raw ones, for consumers outside K2."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.errors import BrokerUnavailable, UsageError
from k2_market.exchanges import EXCHANGES
from k2_market.exchanges import exchange as known_exchange
from k2_market.kinds import Kind, kind_of

if TYPE_CHECKING:
    from k2_feeds.kafka.cluster import KafkaSettings
    from k2_feeds.typed.publisher import Begin, Published, Publisher
    from k2_feeds.typed.registry import RegistrySettings

_PAUSE_S = 0.5


def publish(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose broker is meant.")
    ] = DEFAULT_HOME,
    exchange: Annotated[
        list[str] | None,
        typer.Option(
            help="Only of this exchange; may be given several times. [all]", show_default=False
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only this kind: trades or quotes. [both]", show_default=False),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            metavar="earliest|latest",
            help="Where to begin if the frames that come next are gone from Kafka. "
            "[stop and say so]",
            show_default=False,
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Publish what Kafka has now, then exit.")
    ] = False,
) -> None:
    """Publish trades and quotes in Avro, beside the raw topics, until stopped.

    Each record goes to market.crypto.KIND.EXCHANGE in Confluent's wire format. Its schema is
    registered at K2_SCHEMA_REGISTRY_URL; one that could not read what the topic holds already is
    refused before anything is produced. K2's own tables need none of this.

    On a Kafka cluster each raw frame is published exactly once, whatever is killed; consumers read
    with isolation.level=read_committed. `k2 topics create --typed` makes the topics.

    On the embedded broker of `k2 demo` a killed publisher may repeat its last records, and without
    K2_SCHEMA_REGISTRY_URL the registry is in this process alone.
    """
    exchanges = dict.fromkeys(known_exchange(name).name for name in exchange or EXCHANGES)
    from k2_feeds.typed.outlet import Places
    from k2_feeds.typed.publisher import Publisher
    from k2_feeds.typed.registry import Registry

    beginning = _beginning(begin)
    kinds = dict.fromkeys(map(kind_of, kind or Kind))
    settings = _kafka(home)
    with ExitStack() as stack:
        registry = stack.enter_context(Registry(_registry(settings)))
        places = Places(settings)
        stack.callback(places.close)
        publishers = []
        for name in exchanges:
            for each in kinds:
                publisher = Publisher(settings, registry, places, name, each, beginning)
                stack.callback(publisher.close)
                publishers.append(publisher)
        _publish(publishers, once=once)


def _publish(publishers: Sequence[Publisher], *, once: bool) -> None:
    """Publish in turn until a signal comes or, with ``once``, nothing is left; then sum up."""
    from k2_cli.show import STANDARD_ERROR, STANDARD_OUTPUT
    from k2_feeds.typed.publisher import Published

    counts: dict[str, Published] = defaultdict(Published)
    with _stopping() as stop, STANDARD_ERROR.status("waiting for frames") as status:
        while not stop.is_set():
            if _round(publishers, counts, stop):
                status.update(_told(sum(counts.values(), Published())))
            elif once:
                break
            else:
                stop.wait(_PAUSE_S)
    for topic in sorted(counts):
        STANDARD_OUTPUT.print(f"{topic}: {_told(counts[topic])}", highlight=False)
    if not counts:
        STANDARD_OUTPUT.print("nothing new to publish")


def _round(publishers: Sequence[Publisher], counts: dict[str, Published], stop: Event) -> bool:
    """A step of each publisher; whether any had something to do."""
    busy = False
    for publisher in publishers:
        done = None if stop.is_set() else publisher.step()
        if done is not None:
            counts[publisher.typed] += done
            busy = True
    return busy


def _told(done: Published) -> str:
    return f"{done.records:,} records of {done.frames:,} frames, {done.rejected:,} rejected"


@contextmanager
def _stopping() -> Iterator[Event]:
    """An event that Ctrl-C and SIGTERM set, so that a step under way is finished."""
    stop = Event()

    def note(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    before = [(number, signal.signal(number, note)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield stop
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _beginning(begin: str | None) -> Begin | None:
    from k2_feeds.typed.publisher import Begin

    if begin is not None and begin not in list(Begin):
        raise UsageError(f"--begin was {begin!r}. Use {' or '.join(Begin)}.")
    return None if begin is None else Begin(begin)


def _kafka(home: Path) -> KafkaSettings:
    from k2_assets.resources import BROKER_FOLDER
    from k2_feeds.kafka.broker import broker_settings
    from k2_feeds.kafka.cluster import from_environment

    settings = from_environment(os.environ) or broker_settings(home.absolute() / BROKER_FOLDER)
    if settings is None:
        raise BrokerUnavailable(
            f"no broker: K2_KAFKA_BOOTSTRAP is not set and none is running for {home}. "
            "Set it, or start everything with `k2 demo`."
        )
    return settings


def _registry(kafka: KafkaSettings) -> RegistrySettings:
    from k2_feeds.typed.registry import REGISTRY_URL, registry_from_environment

    settings = registry_from_environment(os.environ)
    if settings.in_memory and not kafka.embedded:
        raise UsageError(
            f"{REGISTRY_URL} is not set. Whoever reads typed topics of a Kafka cluster needs a "
            "Schema Registry to ask; give the address of one."
        )
    return settings
