"""Raw topics to typed ones: on a real Kafka exactly once, and readable with a registry alone."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic, typed_topic
from k2_feeds.parsing.frames import parse
from k2_feeds.typed import outlet
from k2_feeds.typed.outlet import Places
from k2_feeds.typed.publisher import Begin, Published, Publisher, starting_places
from k2_feeds.typed.registry import Registry, RegistrySettings
from k2_market import avro, kinds
from k2_market.avro import published_record
from k2_market.errors import BrokerUnavailable, LogError, OffsetHole, SchemaRefused, TopicMissing
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.frames import Print, bronze_rows
from tests.kafka_server import KafkaServer

EXCHANGE = "binance_usdm"
RAW, TYPED = raw_topic(Kind.TRADES, EXCHANGE), typed_topic(Kind.TRADES, EXCHANGE)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def prints(count: int, first: int = 0) -> list[Print]:
    return [
        Print(n, n, f"{60000 + n % 977}.{n % 100:02d}", "0.00000001", symbol=SYMBOLS[n % 3])
        for n in range(first, first + count)
    ]


def produce(settings: KafkaSettings, wanted: Sequence[Print], extra: Sequence[bytes] = ()) -> None:
    frames = [(Frame(p.binance(), p.received_us, 7, p.trade_id), p.symbol) for p in wanted]
    frames += [(Frame(payload, 1, 7, 10**6 + n), None) for n, payload in enumerate(extra)]
    send(settings, Kind.TRADES, frames)


def send(settings: KafkaSettings, kind: Kind, frames: list[tuple[Frame, str | None]]) -> None:
    with FrameProducer(settings, EXCHANGE, kind) as producer:
        producer.send_many(frames)


def book_ticker(number: int) -> bytes:
    """The best levels of a book of Binance futures."""
    time_ms = 1_723_075_200_000 + number
    data = {
        "e": "bookTicker",
        "u": number,
        "s": "BTCUSDT",
        "b": f"60000.{number:04d}",
        "B": "0.00000001",
        "a": f"60001.{number:04d}",
        "A": "12345678.5",
        "T": time_ms,
        "E": time_ms + 1,
    }
    return json.dumps({"stream": "btcusdt@bookTicker", "data": data}).encode()


@contextmanager
def publishing(
    settings: KafkaSettings,
    url: str | None = None,
    begin: Begin | None = None,
    kind: Kind = Kind.TRADES,
) -> Iterator[Publisher]:
    registry = RegistrySettings(url) if url else RegistrySettings()
    places = Places(settings)
    with Registry(registry) as schemas:
        publisher = Publisher(settings, schemas, places, EXCHANGE, kind, begin)
        try:
            yield publisher
        finally:
            publisher.close()
            places.close()


def run(publisher: Publisher, limit: int = 1000) -> Published:
    """All that is there."""
    done = Published()
    while (step := publisher.step(limit)) is not None:
        done += step
    return done


def consumed(settings: KafkaSettings, topic: str = TYPED) -> list[tuple[bytes, bytes]]:
    """Key and value of all messages of the typed topic that a plain consumer is given."""
    config = {
        "group.id": "plain",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
    }
    consumer = Consumer({**settings.client(), **config})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found, ended = [], 0
    while ended < len(partitions):
        for message in consumer.consume(1000, 1.0):
            if message.error() is None:
                found.append((message.key(), message.value()))
            else:
                ended += 1
    consumer.close()
    return found


def decoded(settings: KafkaSettings, url: str, topic: str = TYPED) -> list[dict[str, Any]]:
    """The records that an Avro consumer reads which knows nothing but the registry's address."""
    with SchemaRegistryClient({"url": url}) as client:
        deserialize = AvroDeserializer(client)
        context = SerializationContext(topic, MessageField.VALUE)
        return [deserialize(value, context) for _, value in consumed(settings, topic)]  # type: ignore[misc]


def parsed(settings: KafkaSettings, kind: Kind = Kind.TRADES) -> list[dict[str, Any]]:
    """What K2's parser makes of the whole raw topic, as silver has it."""
    with TopicReader(settings, raw_topic(kind, EXCHANGE)) as reader:
        ends = {p: high for p, (_, high) in reader.watermarks().items()}
        batch = reader.read({}, ends, 10**6)
    assert batch is not None
    rows = parse(EXCHANGE, kind, bronze_rows(batch.table)).rows
    names = [field["name"] for field in published_record(kind.record)["fields"]]
    return rows.select(names).to_pylist(maps_as_pydicts="strict")


def by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: int(row["trade_id"]))


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> KafkaSettings:
    """The real Kafka with fresh, empty topics."""
    topics = [topic(kind, EXCHANGE) for topic in (raw_topic, typed_topic) for kind in Kind]
    for topic in topics:
        kafka_server.delete_topic(topic)
    TopicsAdmin(kafka_server.settings).create(topics, TopicSettings(partitions=3))
    return kafka_server.settings


@pytest.fixture
def subject(registry: str) -> Iterator[str]:
    """The address of the registry, which does not know the typed topic yet."""
    yield registry
    with SchemaRegistryClient({"url": registry}) as client:
        for name in client.get_subjects():
            client.delete_subject(name)


@pytest.mark.kafka
@pytest.mark.registry
def test_a_consumer_that_knows_only_the_registry_reads_what_the_parser_gives(
    kafka: KafkaSettings, subject: str
) -> None:
    bad_price = Print(5000, 5000, "-1", "1").binance()
    produce(kafka, prints(3000), extra=[b"{no json", bad_price])
    with publishing(kafka, subject) as publisher:
        assert run(publisher) == Published(frames=3002, records=3000, rejected=2)
        assert publisher.step() is None
    found = decoded(kafka, subject)
    assert by_id(found) == by_id(parsed(kafka))
    assert {key for key, _ in consumed(kafka)} == {s.encode() for s in SYMBOLS}
    for symbol in SYMBOLS:  # the order of a symbol's trades stays
        ids = [int(row["trade_id"]) for row in found if row["exchange_symbol"] == symbol]
        assert ids == sorted(ids)


@pytest.mark.kafka
@pytest.mark.registry
def test_quotes_have_topics_and_a_schema_of_their_own(kafka: KafkaSettings, subject: str) -> None:
    frames = [(Frame(book_ticker(n), 1_723_075_200_000_000, 7, n), "BTCUSDT") for n in range(500)]
    send(kafka, Kind.QUOTES, [*frames])
    produce(kafka, prints(10))
    with publishing(kafka, subject, kind=Kind.QUOTES) as publisher:
        assert run(publisher).records == 500
    found = decoded(kafka, subject, typed_topic(Kind.QUOTES, EXCHANGE))
    assert found == parsed(kafka, Kind.QUOTES)
    assert (found[7]["bid_price"], found[7]["ask_quantity"]) == (
        Decimal("60000.00070000"),
        Decimal("12345678.50000000"),
    )
    assert consumed(kafka) == []


@pytest.mark.kafka
@pytest.mark.registry
def test_a_publisher_that_died_in_a_transaction_leaves_no_repeat_and_no_loss(
    kafka: KafkaSettings, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce(kafka, prints(2000))
    with publishing(kafka, subject) as dead:
        dead.step(500)
        whole = dead._rows.encode

        def dying(table: Any) -> Iterator[bytes]:
            for number, message in enumerate(whole(table)):
                if number == 300:
                    dead._outlet._producer.flush(10)  # type: ignore[attr-defined]
                    raise RuntimeError("killed")
                yield message

        with monkeypatch.context() as patched:
            patched.setattr(dead._rows, "encode", dying)
            with pytest.raises(RuntimeError, match="killed"):
                dead.step(500)
        produce(kafka, prints(1000, 2000))
        with publishing(kafka, subject) as alive:
            assert run(alive).records == 2500
    assert by_id(decoded(kafka, subject)) == by_id(parsed(kafka))


@pytest.mark.kafka
@pytest.mark.registry
def test_of_two_publishers_of_a_topic_the_later_one_goes_on_and_the_other_ends(
    kafka: KafkaSettings, subject: str, capfd: pytest.CaptureFixture[str]
) -> None:
    produce(kafka, prints(1000))
    with publishing(kafka, subject) as first:
        first.step(300)
        with publishing(kafka, subject) as second:
            second.step(300)
            with pytest.raises(LogError, match="another `k2 publish` has taken over"):
                run(first, 300)
            run(second, 300)
    assert capfd.readouterr().err == ""
    assert by_id(decoded(kafka, subject)) == by_id(parsed(kafka))


@pytest.mark.kafka
@pytest.mark.registry
def test_a_change_that_old_messages_do_not_survive_is_refused_before_anything_is_produced(
    kafka: KafkaSettings, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce(kafka, prints(10))
    with publishing(kafka, subject) as publisher:
        run(publisher)
    produce(kafka, prints(10, 10))
    before = sorted(consumed(kafka))

    fields = [f for f in TRADE.schema if f.name != "side"]
    side = TRADE.schema.field("side").with_name("taker_side")
    _publish_as(monkeypatch, [*fields, side])
    refused = pytest.raises(SchemaRefused, match=r"Trade.*taker_side is new and has no default")
    with refused, publishing(kafka, subject):
        pass
    assert sorted(consumed(kafka)) == before


@pytest.mark.kafka
@pytest.mark.registry
def test_a_newer_schema_reads_old_messages_and_an_older_consumer_the_new_ones(
    kafka: KafkaSettings, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = published_record(TRADE)
    produce(kafka, prints(10))
    with publishing(kafka, subject) as publisher:
        run(publisher)
    venue = TRADE.schema.field("side").with_name("venue").with_nullable(True)
    new = {**old, "fields": [*old["fields"], avro._field(venue)]}
    with SchemaRegistryClient({"url": subject}) as client:
        context = SerializationContext(TYPED, MessageField.VALUE)
        newer = AvroDeserializer(client, json.dumps(new))
        with Registry(RegistrySettings(subject)) as schemas:
            newer_id = schemas.register(TYPED, new)
        ((_, message), *_) = consumed(kafka)
        row: Any = newer(message, context)
        assert (row["venue"], row["side"]) == (None, "buy")
        later = io.BytesIO()
        later.write(bytes([0]) + newer_id.to_bytes(4, "big"))
        fastavro.schemaless_writer(later, fastavro.parse_schema(new), {**row, "venue": "X"})
        older: Any = AvroDeserializer(client, json.dumps(old))(later.getvalue(), context)
        assert older == {name: row[name] for name in older}
        assert "venue" not in older


@pytest.mark.kafka
@pytest.mark.registry
def test_without_its_topic_or_its_place_it_stops_and_says_what_to_do(
    kafka_server: KafkaServer, kafka: KafkaSettings, subject: str
) -> None:
    produce(kafka, prints(100))
    with publishing(kafka, subject) as publisher:
        run(publisher)
    # Made anew: Kafka forgets the group's place together with the topic.
    kafka_server.delete_topic(RAW)
    TopicsAdmin(kafka).create([RAW], TopicSettings(partitions=3))
    produce(kafka, prints(50, 100))
    with publishing(kafka, subject) as publisher, pytest.raises(OffsetHole, match="--begin"):
        publisher.step()
    with publishing(kafka, subject, Begin.EARLIEST) as publisher:
        assert run(publisher).records == 50
    with publishing(kafka, subject) as publisher:  # from now on it has a place
        assert run(publisher) == Published()
    assert [int(row["trade_id"]) for row in by_id(decoded(kafka, subject))] == list(range(150))
    kafka_server.delete_topic(TYPED)
    missing = pytest.raises(TopicMissing, match="k2 topics create --typed")
    with missing, publishing(kafka, subject):
        pass


@pytest.mark.kafka
@pytest.mark.registry
def test_a_gap_in_the_raw_offsets_stops_it_until_it_is_told_to_go_on_behind(
    kafka: KafkaSettings, subject: str
) -> None:
    produce(kafka, prints(30))
    stranger = Producer({**kafka.client(), "transactional.id": "stranger"})
    stranger.init_transactions()
    stranger.begin_transaction()
    for partition in range(3):
        stranger.produce(RAW, b"{}", partition=partition)
    stranger.flush()
    stranger.abort_transaction()
    produce(kafka, prints(30, 30))
    stops = pytest.raises(OffsetHole, match="For the typed topic, `k2 publish --begin earliest`")
    with publishing(kafka, subject) as publisher, stops:
        run(publisher)
    with publishing(kafka, subject, Begin.EARLIEST) as publisher:
        run(publisher)
    assert [int(row["trade_id"]) for row in by_id(decoded(kafka, subject))] == list(range(60))


@pytest.mark.kafka
@pytest.mark.registry
def test_a_broker_that_restarts_costs_no_record_and_repeats_none(
    kafka_server: KafkaServer, kafka: KafkaSettings, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "_ANSWER_S", 3.0)
    produce(kafka, prints(1000))
    with publishing(kafka, subject) as publisher:
        publisher.step(300)
        kafka_server.restart()
        with suppress(BrokerUnavailable):  # librdkafka may never come back from the offsets
            run(publisher, 300)
    with publishing(kafka, subject) as publisher:
        run(publisher, 300)
    assert by_id(decoded(kafka, subject)) == by_id(parsed(kafka))


def test_on_the_embedded_broker_with_the_registry_in_memory(tmp_path: Path) -> None:
    with start_broker(tmp_path) as broker:
        produce(broker.settings, prints(2500), extra=[b"{no json"])
        with publishing(broker.settings) as publisher:
            assert run(publisher) == Published(frames=2501, records=2500, rejected=1)
        produce(broker.settings, prints(10, 2500))
        with publishing(broker.settings) as publisher:  # goes on where the first stopped
            assert run(publisher) == Published(frames=10, records=10, rejected=0)
        schema = fastavro.parse_schema(published_record(TRADE))
        rows = [
            fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
            for _, value in consumed(broker.settings)
        ]
        assert by_id(rows) == by_id(parsed(broker.settings))  # type: ignore[arg-type]


ENDS = {0: (0, 100), 1: (40, 90)}


def test_it_goes_on_where_it_stopped() -> None:
    assert starting_places(RAW, {0: 7, 1: 90}, ENDS, None, is_new=False) == {0: 7, 1: 90}


def test_a_new_typed_topic_begins_at_the_first_frame_kept_and_so_does_an_added_partition() -> None:
    assert starting_places(RAW, {}, ENDS, None, is_new=True) == {0: 0, 1: 40}
    assert starting_places(RAW, {0: 7}, ENDS, None, is_new=False) == {0: 7, 1: 40}


@pytest.mark.parametrize("committed", [{}, {0: 7, 1: 39}, {0: 101, 1: 50}])
def test_lost_frames_and_a_lost_place_are_for_a_person_to_decide(committed: dict[int, int]) -> None:
    with pytest.raises(OffsetHole, match=r"Kafka now keeps offsets .* --begin earliest"):
        starting_places(RAW, committed, ENDS, None, is_new=False)
    earliest = starting_places(RAW, committed, ENDS, Begin.EARLIEST, is_new=False)
    latest = starting_places(RAW, committed, ENDS, Begin.LATEST, is_new=False)
    for partition, (low, high) in ENDS.items():
        place = committed.get(partition, -1)
        valid = low <= place <= high
        assert earliest[partition] == (place if valid else low)
        assert latest[partition] == (place if valid else high)


def _publish_as(monkeypatch: pytest.MonkeyPatch, fields: Sequence[Any]) -> None:
    """Let the trade have other fields, as a later K2 might."""
    changed = replace(TRADE, schema=pa.schema(list(fields)))
    monkeypatch.setitem(kinds._RECORDS, Kind.TRADES, changed)
