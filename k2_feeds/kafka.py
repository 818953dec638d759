"""Where Kafka is and how to speak to it, for every client of K2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError

from k2_market.errors import BrokerUnavailable, LogError

BOOTSTRAP = "K2_KAFKA_BOOTSTRAP"
_PREFIX = "K2_KAFKA_"
_SECRETS = ("password", "secret", "key", "token", "jaas", "credential")

_NO_ANSWER = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
}


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
        """The configuration of a client: ``linger_ms=5`` is the property ``linger.ms``."""
        own = {name.replace("_", "."): value for name, value in properties.items()}
        return {"bootstrap.servers": self.bootstrap, "log_level": 3, **own, **self.extra}

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


def log_error(doing: str, bootstrap: str, cause: KafkaError) -> LogError:
    """The error to raise for what librdkafka reported while ``doing`` something."""
    if cause.code() in _NO_ANSWER:
        return BrokerUnavailable(
            f"{doing}: no answer from Kafka at {bootstrap} ({cause.name()}: {cause.str()}). "
            "Is it running and reachable from here?"
        )
    return LogError(f"{doing}: Kafka at {bootstrap} refused ({cause.name()}: {cause.str()}).")


def _masked(name: str, value: str) -> str:
    return "***" if any(word in name for word in _SECRETS) else value
