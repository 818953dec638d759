"""Schemas in a real registry and in the one in memory: what is registered, and what is refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from k2_feeds.typed.registry import Registry, RegistrySettings, registry_from_environment
from k2_market.avro import published_record
from k2_market.errors import RegistryError, RegistryUnavailable, SchemaRefused, UsageError
from k2_market.records import TRADE
from tests.services import free_port

Schema = dict[str, Any]


@pytest.fixture
def topic() -> str:
    return f"market.crypto.trades.{uuid.uuid4().hex}"


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.registry)])
def schemas(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """Both registries keep the same promises."""
    url = None if request.param == "memory" else request.getfixturevalue("registry")
    with Registry(RegistrySettings(url) if url else RegistrySettings()) as found:
        yield found


@pytest.fixture
def client(registry: str) -> Iterator[SchemaRegistryClient]:
    """Somebody else's client of the real one."""
    with SchemaRegistryClient({"url": registry}) as found:
        yield found


def with_field(field: Schema) -> Schema:
    schema = published_record(TRADE)
    return {**schema, "fields": [*schema["fields"], field]}


def rescaled() -> Schema:
    schema = deepcopy(published_record(TRADE))
    (price,) = [f for f in schema["fields"] if f["name"] == "price"]
    price["type"]["scale"] = 10
    return schema


def test_a_schema_has_one_id_however_often_it_is_registered(schemas: Registry, topic: str) -> None:
    first = schemas.register(topic, published_record(TRADE))
    assert schemas.register(topic, published_record(TRADE)) == first


def test_a_schema_that_reads_the_old_messages_gets_an_id_of_its_own(
    schemas: Registry, topic: str
) -> None:
    first = schemas.register(topic, published_record(TRADE))
    venue = {"name": "venue", "type": ["null", "string"], "default": None}
    assert schemas.register(topic, with_field(venue)) != first
    # An older K2 that is started beside the newer one goes on with its own.
    assert schemas.register(topic, published_record(TRADE)) == first


def test_a_schema_that_cannot_read_the_old_messages_is_refused_by_field_record_and_subject(
    schemas: Registry, topic: str
) -> None:
    schemas.register(topic, published_record(TRADE))
    with pytest.raises(SchemaRefused) as refused:
        schemas.register(topic, with_field({"name": "venue", "type": "string"}))
    for part in (
        "the record Trade has changed",
        f"{topic}-value",
        "the field venue is new and has no default",
        "Nothing was produced",
        "make it nullable",
    ):
        assert part in str(refused.value)


def test_another_scale_is_refused_which_a_registry_would_let_through(
    schemas: Registry, topic: str
) -> None:
    schemas.register(topic, published_record(TRADE))
    with pytest.raises(
        SchemaRefused, match=r"price is decimal\(18, 10\), and was decimal\(18, 8\)"
    ):
        schemas.register(topic, rescaled())


@pytest.mark.registry
def test_the_subject_is_backward_compatible(
    registry: str, client: SchemaRegistryClient, topic: str
) -> None:
    with Registry(RegistrySettings(registry)) as schemas:
        schemas.register(topic, published_record(TRADE))
    assert client.get_compatibility(f"{topic}-value") == "BACKWARD"
    assert client.get_versions(f"{topic}-value") == [1]


@pytest.mark.registry
def test_a_stricter_level_that_somebody_chose_stays_and_is_kept_to(
    registry: str, client: SchemaRegistryClient, topic: str
) -> None:
    fewer = published_record(TRADE)
    fewer["fields"] = [f for f in fewer["fields"] if f["name"] != "side"]
    with Registry(RegistrySettings(registry)) as schemas:
        schemas.register(topic, published_record(TRADE))
        client.set_compatibility(f"{topic}-value", "FULL")
        with pytest.raises(SchemaRefused, match="the registry finds it incompatible"):
            schemas.register(topic, fewer)
    assert client.get_compatibility(f"{topic}-value") == "FULL"
    assert client.get_versions(f"{topic}-value") == [1]


def test_a_registry_that_does_not_answer_is_named_without_the_password(topic: str) -> None:
    port = free_port()
    url = f"http://user:s3cret@127.0.0.1:{port}/apis"
    settings = RegistrySettings(url, {"max.retries": "0"})
    with Registry(settings) as schemas, pytest.raises(RegistryUnavailable) as unavailable:
        schemas.register(topic, published_record(TRADE))
    assert f"no answer from the Schema Registry at http://127.0.0.1:{port}/apis" in str(
        unavailable.value
    )
    assert "s3cret" not in str(unavailable.value)
    assert "s3cret" not in repr(settings)
    assert unavailable.value.retryable


@pytest.mark.registry
def test_an_address_without_the_path_is_said_to_be_wrong(registry: str, topic: str) -> None:
    settings = RegistrySettings(registry.replace("ccompat/v7", "nowhere"))
    wrong = pytest.raises(RegistryError, match=r"HTTP 404.*Check K2_SCHEMA_REGISTRY_URL")
    with Registry(settings) as schemas, wrong:
        schemas.register(topic, published_record(TRADE))


def test_the_environment_names_the_registry_and_the_properties_of_its_client() -> None:
    found = registry_from_environment(
        {
            "K2_SCHEMA_REGISTRY_URL": "https://registry:8081",
            "K2_SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO": "k2:s3cret",
            "K2_SCHEMA_REGISTRY_SSL_CA_LOCATION": "/ca.pem",
            "K2_KAFKA_BOOTSTRAP": "kafka:9092",
        }
    )
    assert found.url == "https://registry:8081"
    assert found.extra == {"basic.auth.user.info": "k2:s3cret", "ssl.ca.location": "/ca.pem"}
    assert "s3cret" not in repr(found)
    assert registry_from_environment({"K2_SCHEMA_REGISTRY_URL": " "}).in_memory


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no.such.property", "1"),
        ("timeout", "soon"),
        ("ssl.ca.location", "/nowhere/ca.pem"),
        ("basic.auth.user.info", "nobody"),
    ],
)
def test_a_property_that_the_client_does_not_take_is_the_users_mistake(
    name: str, value: str
) -> None:
    settings = RegistrySettings("http://127.0.0.1:1", {name: value})
    with pytest.raises(UsageError, match=r"cannot be set up: .*K2_SCHEMA_REGISTRY_"):
        Registry(settings)
