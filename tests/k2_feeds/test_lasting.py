"""No frame is lost: Kafka away, its client broken, its topic missing, a frame too large."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from k2_feeds.kafka import producer as producer_module
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.lasting import LastingProducer
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.kafka.undelivered import DeadLetters, Spool
from k2_market.kinds import Kind
from tests.kafka_server import KafkaServer
from tests.services import wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with start_broker(tmp_path / "broker") as running:
        yield running


@contextmanager
def _away(broker: EmbeddedBroker) -> Iterator[None]:
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)


def _frame(number: int, size: int = 20) -> Frame:
    return Frame(random.Random(number).randbytes(size), 1_700_000_000_000_000 + number, 5, number)


def _sequences(settings: KafkaSettings, topic: str) -> list[int]:
    """The numbers of the frames, partition by partition, in the order of their offsets."""
    with TopicReader(settings, topic) as reader:
        end = {p: high for p, (_, high) in reader.watermarks().items()}
        tables, at = [], dict[int, int]()
        while (batch := reader.read(at, end, 100_000)) is not None:
            tables.append(batch.table)
            at = batch.next_offsets
    table = pa.concat_tables(tables).sort_by(
        [("kafka_partition", "ascending"), ("kafka_offset", "ascending")]
    )
    return list(table["sequence"].to_pylist())


def _polled(producer: LastingProducer, happened: Callable[[], bool]) -> None:
    def ready() -> bool:
        producer.poll()
        return happened()

    wait_until(ready, "the producer", 60)


def test_the_room_for_frames_that_wait_is_bounded_in_bytes(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "QUEUE_KBYTES", 500)
    producer = LastingProducer(broker.settings, "kraken", Kind.TRADES)
    with _away(broker):
        taken = 0
        while producer.offer(_frame(taken, size=5_000), "A"):
            taken += 1
        assert 90 <= taken <= 110
        assert producer.queued == taken
        assert not producer.offer(_frame(taken, size=5_000), "A")
    _polled(producer, lambda: producer.queued == 0)
    assert producer.stop() == 0
    assert _sequences(broker.settings, producer.topic) == list(range(taken))


def test_memory_of_frames_that_waited_goes_back_once_they_are_gone(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued: list[int] = []
    producer = LastingProducer(broker.settings, "binance", Kind.TRADES)
    monkeypatch.setattr("k2_feeds.kafka.lasting.give_back", lambda: queued.append(producer.queued))
    assert producer.offer(_frame(0), "BTCUSDT")
    _polled(producer, lambda: not producer.queued)
    with _away(broker):
        assert all(producer.offer(_frame(n), "BTCUSDT") for n in range(1, 6_000))
        producer.poll()
        assert (producer.queued > 5_000, queued) == (True, [])
    _polled(producer, lambda: not producer.queued)
    assert len(queued) == 1
    assert queued[0] < 500
    producer.stop()


def test_a_client_that_failed_for_good_is_replaced_and_its_frames_come_in_order(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2_feeds.live.liveness.FIRST_DELAY_S", 0.1)
    producer = LastingProducer(broker.settings, "kraken", Kind.TRADES)
    for number in range(50):
        assert producer.offer(_frame(number), "A")
    _polled(producer, lambda: producer.queued == 0)
    with _away(broker):
        for number in range(50, 100):
            assert producer.offer(_frame(number), "A")
        # What librdkafka answers from then on, when a broker has lost what it knew of the producer.
        fatal = KafkaError(KafkaError._FATAL, "made up")
        assert not producer._not_taken(fatal, *_parts(_frame(100)))
        assert not producer.offer(_frame(100), "A")
        assert "made up" in str(producer.trouble)
        _polled(producer, lambda: producer.outages == 1)
    _polled(producer, lambda: producer.offer(_frame(100), "A"))
    assert producer.stop() == 0
    # Of those in flight nobody knows whether they had arrived: they may be there twice.
    found = _sequences(broker.settings, producer.topic)
    assert list(dict.fromkeys(found)) == list(range(101))
    assert 101 <= len(found) <= 151


def _parts(frame: Frame) -> tuple[bytes, str, bytes]:
    return frame.payload, "A", b""


def test_a_stopping_producer_takes_everything_and_keeps_it_on_disk(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    producer = LastingProducer(broker.settings, "kraken", Kind.TRADES, home=tmp_path)
    with _away(broker):
        for number in range(30):
            assert producer.offer(_frame(number), "A" if number % 2 else None)
        producer.begin_stop()
        assert producer.offer(_frame(30), "A")
        began = time.monotonic()
        assert producer.stop(drain_s=0.3) == 31
        assert time.monotonic() - began < 5
    spool = Spool(tmp_path, producer.topic)
    kept = spool.read(spool.files())
    assert [record.payload for record in kept] == [_frame(n).payload for n in range(31)]
    assert [record.key for record in kept[:4]] == [None, "A", None, "A"]

    again = LastingProducer(broker.settings, "kraken", Kind.TRADES, home=tmp_path)
    assert not again.offer(_frame(31), "A")
    _polled(again, lambda: again.offer(_frame(31), "A"))
    _polled(again, lambda: not spool.files())
    assert again.stop() == 0
    found = _sequences(broker.settings, producer.topic)
    assert sorted(found) == list(range(32))
    assert [n for n in found if n % 2] == list(range(1, 32, 2))


def test_frames_kept_twice_are_one_file_with_all_of_them(tmp_path: Path) -> None:
    away = KafkaSettings("127.0.0.1:1")
    for start in (0, 10):
        producer = LastingProducer(away, "kraken", Kind.TRADES, home=tmp_path)
        producer.begin_stop()
        for number in range(start, start + 10):
            producer.offer(_frame(number), "A")
        producer.stop(drain_s=0.1)
    spool = Spool(tmp_path, producer.topic)
    (file,) = spool.files()
    assert [record.payload for record in spool.read([file])] == [
        _frame(n).payload for n in range(20)
    ]


@pytest.fixture
def exchange(kafka_server: KafkaServer) -> str:
    """A name of the test's own, whose topic does not exist."""
    return uuid.uuid4().hex


def _create(server: KafkaServer, topic: str, config: dict[str, str] | None = None) -> None:
    client = AdminClient(server.settings.client())
    (made,) = client.create_topics([NewTopic(topic, 1, 1, config=config or {})]).values()
    made.result()


@pytest.mark.kafka
def test_frames_for_a_topic_that_is_missing_wait_until_it_is_made(
    kafka_server: KafkaServer, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2_feeds.live.liveness.FIRST_DELAY_S", 0.1)
    monkeypatch.setattr(producer_module, "_NO_TOPIC_AFTER_MS", 500)
    producer = LastingProducer(kafka_server.settings, exchange, Kind.TRADES)
    for number in range(20):
        assert producer.offer(_frame(number), "A")
    _polled(producer, lambda: producer.outages > 1)
    _create(kafka_server, producer.topic)
    _polled(producer, lambda: producer.queued == 0)
    assert producer.stop() == 0
    assert _sequences(kafka_server.settings, producer.topic) == list(range(20))


@pytest.mark.kafka
def test_a_frame_that_is_too_large_for_its_topic_is_a_dead_letter_and_the_others_go_on(
    kafka_server: KafkaServer, exchange: str, tmp_path: Path
) -> None:
    topic = raw_topic(Kind.TRADES, exchange)
    _create(kafka_server, topic, {"max.message.bytes": "20000"})
    producer = LastingProducer(kafka_server.settings, exchange, Kind.TRADES, home=tmp_path)
    # Together the small ones are too large as well: each has to be tried by itself.
    sizes = [60_000 if number in (7, 13) else 3_000 for number in range(40)]
    for number, size in enumerate(sizes):
        assert producer.offer(_frame(number, size), "BTC/USD")
    _polled(producer, lambda: producer.queued == 0)
    for number in range(40, 50):
        assert producer.offer(_frame(number), "BTC/USD")
    assert producer.stop() == 0
    expected = [number for number in range(50) if number not in (7, 13)]
    assert sorted(_sequences(kafka_server.settings, topic)) == expected
    assert sum(producer.acknowledged.values()) == 48
    assert producer.letters == 2

    letters = DeadLetters(tmp_path)
    found = [letters.read(number) for number in letters.ids()]
    assert sorted(letter.payload for letter in found) == sorted(
        _frame(number, 60_000).payload for number in (7, 13)
    )
    assert {(x.topic, x.key, x.reason) for x in found} == {(topic, "BTC/USD", "MSG_SIZE_TOO_LARGE")}

    assert set(letters.replay(letters.ids(), kafka_server.settings)) == set(letters.ids())
    _allow(kafka_server, topic, 100_000)
    assert letters.replay(letters.ids(), kafka_server.settings) == {}
    assert letters.ids() == []
    assert sorted(_sequences(kafka_server.settings, topic)) == list(range(50))


def _allow(server: KafkaServer, topic: str, size: int) -> None:
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ResourceType

    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = AdminClient(server.settings.client())
    (changed,) = client.incremental_alter_configs([resource]).values()
    changed.result()


@pytest.mark.kafka
def test_records_deleted_under_a_producer_cost_no_later_frame(
    kafka_server: KafkaServer, exchange: str
) -> None:
    """The broker forgets what it knew of an idempotent producer once all its records are gone."""
    producer = LastingProducer(kafka_server.settings, exchange, Kind.TRADES)
    _create(kafka_server, producer.topic)
    for number in range(10):
        assert producer.offer(_frame(number), "A")
    _polled(producer, lambda: producer.queued == 0)
    client = AdminClient(kafka_server.settings.client())
    (cut,) = client.delete_records([TopicPartition(producer.topic, 0, 10)]).values()
    cut.result()
    kafka_server.restart()
    for number in range(10, 30):
        assert producer.offer(_frame(number), "A")
    assert producer.stop(drain_s=30) == 0
    with TopicReader(kafka_server.settings, producer.topic) as reader:
        low, high = reader.watermarks()[0]
        batch = reader.read({0: low}, {0: high}, 100)
    assert batch is not None
    assert batch.table["sequence"].to_pylist() == list(range(10, 30))
