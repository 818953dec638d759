"""The Schema Registry: where the schemas of the typed topics are kept, and a change is judged.

Any registry with Confluent's REST API will do. Without one, on the embedded broker, the client's
own registry in memory takes its place; its ids mean something in this process alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from k2_market.avro import unreadable
from k2_market.closing import Closing
from k2_market.errors import RegistryError, RegistryUnavailable, SchemaRefused, UsageError

REGISTRY_URL = "K2_SCHEMA_REGISTRY_URL"
_PREFIX = "K2_SCHEMA_REGISTRY_"
_IN_MEMORY = "mock://k2"
_LEVEL = "BACKWARD"
# Whoever chose a stricter level than K2 needs keeps it.
_ENOUGH = {_LEVEL, "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}
# The client's own default is to wait for ever.
_DEFAULTS: Mapping[str, str] = {"timeout": "10", "max.retries": "2", "retries.wait.ms": "200"}
_NUMBERS = {
    "timeout",
    "max.retries",
    "retries.wait.ms",
    "retries.max.wait.ms",
    "cache.capacity",
    "cache.latest.ttl.sec",
}
_NOT_FOUND = 404

Answer = TypeVar("Answer")


@dataclass(frozen=True, repr=False)
class RegistrySettings:
    """The address of a registry, and properties of the client as ``basic.auth.user.info``."""

    url: str = _IN_MEMORY
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_memory(self) -> bool:
        """Whether it is the registry within this process."""
        return self.url == _IN_MEMORY

    @property
    def shown(self) -> str:
        """The address without a user and a password."""
        return ",".join(map(_without_user, self.url.split(",")))

    def __repr__(self) -> str:
        return f"RegistrySettings({self.shown!r}, extra={sorted(self.extra)})"


def registry_from_environment(env: Mapping[str, str]) -> RegistrySettings:
    """The registry that the environment names, else the one in memory.

    ``K2_SCHEMA_REGISTRY_URL`` is the address. Every other ``K2_SCHEMA_REGISTRY_<PROPERTY>`` is
    handed to the client: ``K2_SCHEMA_REGISTRY_SSL_CA_LOCATION`` is ``ssl.ca.location``.
    """
    url = env.get(REGISTRY_URL, "").strip()
    if not url:
        return RegistrySettings()
    extra = {
        name.removeprefix(_PREFIX).lower().replace("_", "."): value
        for name, value in env.items()
        if name.startswith(_PREFIX) and name != REGISTRY_URL
    }
    return RegistrySettings(url, extra)


class Registry(Closing):
    """Registers the schemas of typed topics; refuses those that cannot read what came before.

    A context manager.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self._client = _client(settings)

    def register(self, topic: str, schema: Mapping[str, Any]) -> int:
        """The id of the schema for the values of ``topic``, registered where it is not yet.

        The subject is ``<topic>-value`` and its compatibility BACKWARD, if it is not stricter.
        Raises SchemaRefused, RegistryUnavailable, RegistryError.
        """
        subject = f"{topic}-value"
        candidate = Schema(json.dumps(schema), "AVRO")
        latest = self._ask(f"reading {subject}", lambda: self._latest(subject))
        if latest is not None:
            reasons = unreadable(schema, latest)
            if reasons:
                raise self._refusal(subject, schema, "; ".join(reasons))
        if not self.settings.in_memory:
            self._set_level(subject)
            self._judge(subject, schema, candidate, is_first=latest is None)
        registered: int = self._ask(
            f"registering {subject}", lambda: self._client.register_schema(subject, candidate)
        )
        return registered

    def subjects(self) -> list[str]:
        """What it has schemas of. Raises RegistryUnavailable, RegistryError."""
        found: list[str] = self._ask("listing the subjects", self._client.get_subjects)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _latest(self, subject: str) -> dict[str, Any] | None:
        found = _or_none(lambda: self._client.get_latest_version(subject))
        return None if found is None else json.loads(found.schema.schema_str or "")

    def _set_level(self, subject: str) -> None:
        doing = f"setting the compatibility of {subject}"
        level = self._ask(doing, lambda: _or_none(lambda: self._client.get_compatibility(subject)))
        if level not in _ENOUGH:
            self._ask(doing, lambda: self._client.set_compatibility(subject, _LEVEL))

    def _judge(
        self, subject: str, schema: Mapping[str, Any], candidate: Schema, *, is_first: bool
    ) -> None:
        """Ask the registry itself, which may hold the subject to a stricter level than ours."""
        fits = is_first or self._ask(
            f"checking {subject}", lambda: self._client.test_compatibility(subject, candidate)
        )
        if not fits:
            raise self._refusal(subject, schema, "the registry finds it incompatible")

    def _refusal(self, subject: str, schema: Mapping[str, Any], reason: str) -> SchemaRefused:
        return SchemaRefused(
            f"the record {schema['name']} has changed such that {subject} cannot take it "
            f"(Schema Registry {self.settings.shown}): {reason}. Nothing was produced. Give a new "
            "field a default (make it nullable), and keep names and types of the old ones; or "
            "give the changed record topics of another name."
        )

    def _ask(self, doing: str, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except httpx2.TransportError as error:
            raise RegistryUnavailable(
                f"{doing}: no answer from the Schema Registry at {self.settings.shown} ({error}). "
                f"Is it running, and is {REGISTRY_URL} right?"
            ) from error
        except SchemaRegistryError as error:
            raise RegistryError(
                f"{doing}: the Schema Registry at {self.settings.shown} refused "
                f"(HTTP {error.http_status_code}: {error.error_message}). Check {REGISTRY_URL} "
                f"and, for a sign-in, {_PREFIX}BASIC_AUTH_USER_INFO."
            ) from error
        except ValueError as error:
            raise RegistryError(
                f"{doing}: what answers at {self.settings.shown} is no Schema Registry ({error}). "
                f"Check {REGISTRY_URL}; Apicurio's ends in /apis/ccompat/v7."
            ) from error


def _or_none(call: Callable[[], Answer]) -> Answer | None:
    """What a subject has, None where there is no such subject yet."""
    try:
        return call()
    except SchemaRegistryError as error:
        if error.http_status_code == _NOT_FOUND:
            return None
        raise


def _client(settings: RegistrySettings) -> SchemaRegistryClient:
    given = {**_DEFAULTS, **settings.extra}
    try:
        numbers = {name: float(value) for name, value in given.items() if name in _NUMBERS}
        return SchemaRegistryClient.new_client({**given, **numbers, "url": settings.url})
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(
            f"the client of the Schema Registry cannot be set up: {error}. Check {REGISTRY_URL} "
            f"and the variables {_PREFIX}*: each is a property of Confluent's client."
        ) from None


def _without_user(url: str) -> str:
    parts = urlsplit(url.strip())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
