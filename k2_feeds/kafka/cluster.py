"""Where Kafka is and how to speak to it, for every client of K2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

from k2_market.errors import BrokerUnavailable, LogError, TopicMissing, UsageError

BOOTSTRAP = "K2_KAFKA_BOOTSTRAP"
_PREFIX = "K2_KAFKA_"
_SECRETS = ("password", "secret", "key", "token", "jaas", "credential")

# Connections and leaders change while a broker restarts, and librdkafka drops the connection to the
# bootstrap address once it knows the brokers.
_MOVING = {
    KafkaError._DESTROY_BROKER,
    KafkaError._TRANSPORT,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
}
# What passes when the same is asked again: a broker that comes back names a topic before it has all
# of its partitions.
PASSING = {*_MOVING, KafkaError._UNKNOWN_PARTITION}
_NO_ANSWER = {
    *_MOVING,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
}
_NO_TOPIC = {KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART}
_TURNED_AWAY = {
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}

Client = TypeVar("Client")


@dataclass(frozen=True, repr=False)
class KafkaSettings:
    """A cluster's address and how its clients are set up.

    ``bootstrap`` is a list of ``host:port`` with commas. ``embedded`` says that it is K2's own
    broker, which keeps 5 MB a partition. ``extra`` holds librdkafka properties as
    ``security.protocol``; they win over K2's own.
    """

    bootstrap: str
    embedded: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)

    def client(self, **properties: str | int | bool) -> dict[str, str | int | bool]:
        """The configuration of a client: ``linger_ms=5`` is the property ``linger.ms``.

        librdkafka writes nothing itself: it would repeat a line each second while Kafka is away.
        """
        own = {name.replace("_", "."): value for name, value in properties.items()}
        return {"bootstrap.servers": self.bootstrap, "log_level": 0, **own, **self.extra}

    def __repr__(self) -> str:
        extra = {name: _masked(name, value) for name, value in self.extra.items()}
        return f"KafkaSettings({self.bootstrap!r}, embedded={self.embedded}, extra={extra})"


def from_environment(env: Mapping[str, str]) -> KafkaSettings | None:
    """The cluster that the environment names, or None where it names none.

    ``K2_KAFKA_BOOTSTRAP`` is the address. Every other ``K2_KAFKA_<PROPERTY>`` is handed to
    librdkafka: ``K2_KAFKA_SECURITY_PROTOCOL`` is ``security.protocol``.
    """
    bootstrap = env.get(BOOTSTRAP, "").strip()
    if not bootstrap:
        return None
    extra = {
        name.removeprefix(_PREFIX).lower().replace("_", "."): value
        for name, value in env.items()
        if name.startswith(_PREFIX) and name != BOOTSTRAP
    }
    return KafkaSettings(bootstrap, extra=extra)


def require_answer(settings: KafkaSettings, within_s: float = 10.0) -> None:
    """Raise BrokerUnavailable or LogError if no broker of the cluster answers in time."""
    trouble = Trouble()
    client = new_client(Producer, {**settings.client(), "error_cb": trouble.note})
    try:
        client.list_topics(timeout=within_s)
    except KafkaException as error:
        client.poll(0)
        cause = error.args[0]
        raise log_error("starting", settings.bootstrap, cause, trouble) from None


class Trouble:
    """What a client's connections met last: its calls only tell that no answer came.

    Hand ``note`` to librdkafka as ``error_cb``; it is called when the client is polled.
    """

    def __init__(self) -> None:
        self.cause: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """Keep the error, unless it only counts the brokers that are down."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.cause = error


def new_client(kind: Callable[[dict[str, Any]], Client], config: Mapping[str, Any]) -> Client:
    """A client of librdkafka. Raises UsageError for a property or a value that it does not know."""
    try:
        return kind(dict(config))
    except KafkaException as error:
        raise UsageError(
            f"Kafka's client cannot be set up: {error.args[0].str()}. Check the variables "
            f"{_PREFIX}*: each but {BOOTSTRAP} is a property of librdkafka."
        ) from None


def log_error(
    doing: str, bootstrap: str, cause: KafkaError, trouble: Trouble | None = None
) -> LogError:
    """The error to raise for what librdkafka reported while ``doing`` something."""
    met = trouble.cause if trouble is not None else None
    if cause.code() in _NO_TOPIC:
        return TopicMissing(
            f"{doing}: Kafka at {bootstrap} has no such topic. Make it with `k2 topics create`."
        )
    if cause.code() not in _NO_ANSWER | _TURNED_AWAY:
        return LogError(f"{doing}: Kafka at {bootstrap} refused ({cause.name()}: {cause.str()}).")
    told = met or cause
    if told.code() in _TURNED_AWAY:
        return LogError(
            f"{doing}: Kafka at {bootstrap} turned K2 away ({told.name()}: {told.str()}). Check "
            f"{_PREFIX}SECURITY_PROTOCOL, {_PREFIX}SASL_* and {_PREFIX}SSL_*."
        )
    return BrokerUnavailable(
        f"{doing}: no answer from Kafka at {bootstrap} ({told.name()}: {told.str()}). "
        "Is it running and reachable from here?"
    )


def _masked(name: str, value: str) -> str:
    return "***" if any(word in name for word in _SECRETS) else value
