"""The raw topics of a real cluster: what they should be like, what they are, and making them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from k2_feeds.kafka.cluster import KafkaSettings, Trouble, log_error, new_client
from k2_market.errors import LogError, UsageError

PARTITIONS = 4
DAY_MS = 86_400_000
RETENTION_DAYS = 7
COMPRESSIONS = ("producer", "zstd")
_ANSWER_S = 10.0
_PAUSE_S = 0.05


@dataclass(frozen=True)
class TopicSettings:
    """How a topic is set up.

    The time of a message is that of its arrival in Kafka, so that bronze's days never go back.
    Old messages are deleted, never compacted: each frame has to stay until it is in bronze.
    ``retention_ms`` -1 keeps everything. The compression ``producer`` keeps what the feed chose,
    which is zstd, and saves the broker from doing it again.
    """

    partitions: int = PARTITIONS
    replication: int = 1
    retention_ms: int = RETENTION_DAYS * DAY_MS
    compression: str = "producer"

    @property
    def config(self) -> dict[str, str]:
        """Kafka's names and values of those settings that are a topic's configuration."""
        return {
            "cleanup.policy": "delete",
            "compression.type": self.compression,
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
        }


@dataclass(frozen=True)
class TopicState:
    """A topic as a cluster has it; ``config`` holds the names of ``TopicSettings.config``."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)


def differences(found: TopicState, wanted: TopicSettings) -> list[str]:
    """What is not as wanted: ``retention.ms is 1000, not 604800000``."""
    pairs = {
        "partitions": (str(found.partitions), str(wanted.partitions)),
        "replication": (str(found.replication), str(wanted.replication)),
        **{name: (found.config.get(name, "unset"), v) for name, v in wanted.config.items()},
    }
    return [
        f"{name} is {is_}, not {should}" for name, (is_, should) in pairs.items() if is_ != should
    ]


def topic_id(settings: KafkaSettings, topic: str) -> str | None:
    """The id that the cluster gave the topic when it was made, None where there is no such topic.

    A topic that is deleted and made again has another id. The embedded broker gives none: "".
    Raises BrokerUnavailable, LogError.
    """
    if settings.embedded:
        return ""
    state = TopicsAdmin(settings).described([topic]).get(topic)
    return None if state is None else str(state.topic_id)


class TopicsAdmin:
    """Looks at a cluster's topics and makes them; calls raise BrokerUnavailable or LogError."""

    def __init__(self, settings: KafkaSettings, *, answer_within_s: float = _ANSWER_S) -> None:
        if settings.embedded:
            raise UsageError(
                "the embedded broker makes its topics at their first use, with four partitions, "
                "and no others. Set K2_KAFKA_BOOTSTRAP to a Kafka cluster for topics."
            )
        self._bootstrap, self._answer_s = settings.bootstrap, answer_within_s
        self._trouble = Trouble()
        config = {**settings.client(), "error_cb": self._trouble.note}
        self._client = new_client(AdminClient, config)

    def described(self, names: Iterable[str]) -> dict[str, TopicDescription]:
        """Kafka's description of those of the topics that exist."""
        futures = self._client.describe_topics(
            TopicCollection(list(names)), request_timeout=self._answer_s
        )
        found = {}
        for name, future in futures.items():
            try:
                found[name] = future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._error("looking at the topics", error) from error
        return found

    def states(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Those of the topics that exist."""
        return {
            name: TopicState(
                name,
                len(topic.partitions),
                len(topic.partitions[0].replicas),
                self._config(name),
            )
            for name, topic in self.described(names).items()
        }

    def create(self, names: Iterable[str], wanted: TopicSettings) -> list[str]:
        """Make those that do not exist yet; their names."""
        existing = self.states(names)
        missing = [
            NewTopic(name, wanted.partitions, wanted.replication, config=wanted.config)
            for name in names
            if name not in existing
        ]
        if not missing:
            return []
        made = []
        for name, future in self._client.create_topics(
            missing, request_timeout=self._answer_s
        ).items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue  # by another `k2 topics create` beside this one
                raise self._error(f"making the topic {name}", error) from error
            made.append(name)
        self._await(made)
        return made

    def _await(self, names: Collection[str]) -> None:
        """The controller makes a topic; the broker that is asked may hear of it a moment later."""
        deadline = time.monotonic() + self._answer_s
        while self.described(names).keys() != set(names) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)

    def _config(self, name: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, name)
        (future,) = self._client.describe_configs(
            [resource], request_timeout=self._answer_s
        ).values()
        try:
            entries = future.result()
        except KafkaException as error:
            raise self._error(f"reading the settings of {name}", error) from error
        return {key: entries[key].value for key in TopicSettings().config if key in entries}

    def _error(self, doing: str, error: KafkaException) -> LogError:
        self._client.poll(0)
        return log_error(doing, self._bootstrap, error.args[0], self._trouble)
