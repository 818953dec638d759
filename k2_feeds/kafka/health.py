"""Whether Kafka still has what bronze needs next, and whether the Schema Registry answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from k2_feeds.kafka.admin import TopicsAdmin
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.look import Ends, Held, TopicsLook
from k2_feeds.typed.registry import Registry, RegistrySettings
from k2_market.errors import LogError, RegistryError
from k2_market.findings import Finding, State
from k2_market.kinds import Kind

KAFKA, REGISTRY = "kafka", "registry"
_ANSWER_S = 5.0


@dataclass(frozen=True)
class Reader:
    """A table that is filled from a topic, and what it holds of it; None if nothing yet."""

    table: str
    exchange: str
    kind: Kind
    held: Held | None
    topic_id: str = ""

    @property
    def new_epoch(self) -> str:
        """The command that goes on at what the topic still holds."""
        return f"k2 bronze new-epoch {self.exchange} --kind {self.kind}"


def kafka_findings(settings: KafkaSettings, readers: Mapping[str, Reader]) -> Iterator[Finding]:
    """What is found of the cluster and, by topic, of those who read it."""
    try:
        with TopicsLook(settings, answer_within_s=_ANSWER_S) as look:
            ends = look.ends(readers)
        ids = _topic_ids(settings, ends)
    except LogError as error:
        mend = "start it, or correct K2_KAFKA_BOOTSTRAP"
        yield Finding(KAFKA, "broker", State.WRONG, str(error), mend)
        return
    told = f"{settings.bootstrap}, cluster {ends.cluster_id}, {len(ends.topics)} raw topics"
    yield Finding(KAFKA, "broker", State.OK, told)
    for topic, reader in readers.items():
        if settings.embedded:
            yield from _embedded(topic, reader, ends)
        else:
            yield from _topic(topic, reader, ends, ids.get(topic, ""))


def _topic_ids(settings: KafkaSettings, ends: Ends) -> dict[str, str]:
    if settings.embedded or not ends.topics:
        return {}
    described = TopicsAdmin(settings, answer_within_s=_ANSWER_S).described(ends.topics)
    return {name: str(topic.topic_id) for name, topic in described.items()}


def _embedded(topic: str, reader: Reader, ends: Ends) -> Iterator[Finding]:
    """The embedded broker is new at every start: what is held of an earlier one counts no more."""
    if reader.held is not None and reader.held.cluster_id == ends.cluster_id:
        yield from _offsets(topic, reader, reader.held, ends)


def _topic(topic: str, reader: Reader, ends: Ends, topic_id: str) -> Iterator[Finding]:
    held = reader.held
    if held is None:
        if topic in ends.topics:
            yield from _offsets(topic, reader, Held(ends.cluster_id, {}), ends)
    elif topic not in ends.topics:
        told = f"{reader.table} holds {topic}, which does not exist any more"
        yield _wrong(topic, told, f"k2 topics create, then {reader.new_epoch}")
    elif held.cluster_id != ends.cluster_id:
        told = f"{reader.table} was filled from cluster {held.cluster_id}, not {ends.cluster_id}"
        yield _wrong(topic, told, f"correct K2_KAFKA_BOOTSTRAP, or {reader.new_epoch}")
    elif reader.topic_id not in ("", topic_id):
        told = f"the topic was deleted and made anew since {reader.table} read it"
        yield _wrong(topic, told, reader.new_epoch)
    else:
        yield from _offsets(topic, reader, held, ends)


def _offsets(topic: str, reader: Reader, held: Held, ends: Ends) -> Iterator[Finding]:
    lag, sound = 0, True
    for p, (low, high) in ends.topics.get(topic, {}).items():
        at = held.offsets.get(p, 0)
        lag += max(high - at, 0)
        if at < low:
            told = f"partition {p}: {reader.table} needs offset {at} next, Kafka keeps {low} on: "
            sound = False
            yield _wrong(topic, f"{told}{low - at:,} frames are lost", reader.new_epoch)
        elif at > high:
            told = f"partition {p}: {reader.table} holds up to {at}, but the topic ends at {high}"
            sound = False
            yield _wrong(topic, told, reader.new_epoch)
    if sound:
        yield Finding(KAFKA, topic, State.OK, f"{lag:,} frames wait for {reader.table}")


def _wrong(topic: str, told: str, mend: str) -> Finding:
    return Finding(KAFKA, topic, State.WRONG, told, mend)


def registry_findings(settings: RegistrySettings) -> Iterator[Finding]:
    """Whether the registry answers, where one is configured."""
    if settings.in_memory:
        return
    try:
        with Registry(settings) as registry:
            subjects = registry.subjects()
    except RegistryError as error:
        mend = "start it, or correct K2_SCHEMA_REGISTRY_URL"
        yield Finding(REGISTRY, "registry", State.WRONG, str(error), mend)
    else:
        told = f"{settings.shown}, {len(subjects)} subjects"
        yield Finding(REGISTRY, "registry", State.OK, told)
