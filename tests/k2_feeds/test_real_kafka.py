"""Frames into Apache Kafka and back out: restarts, holes, refusals. One server for all tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable

import pyarrow as pa
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from k2_feeds.adapters import adapter
from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings, differences, topic_id
from k2_feeds.kafka.cluster import KafkaSettings, from_environment
from k2_feeds.kafka.frame import HEADER_KEY, Frame, Origin, encode_header
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.live.feed import Feed, Plan, run_feeds
from k2_feeds.simulator.server import serve
from k2_market.errors import (
    BrokerUnavailable,
    LogError,
    OffsetBeyondEnd,
    OffsetHole,
    TopicMissing,
    UsageError,
)
from k2_market.kinds import Kind
from tests.kafka_server import PASSWORD, KafkaServer
from tests.services import free_port

pytestmark = pytest.mark.kafka


@pytest.fixture
def exchange(kafka_server: KafkaServer) -> str:
    """The name of an exchange of the test's own, whose topic exists with two partitions."""
    name = uuid.uuid4().hex
    _admin(kafka_server).create([raw_topic(Kind.TRADES, name)], TopicSettings(partitions=2))
    return name


def _admin(server: KafkaServer) -> TopicsAdmin:
    return TopicsAdmin(server.settings)


def _frames(count: int, first: int = 0) -> list[tuple[Frame, str]]:
    return [
        (Frame(b'{"n":%d}' % n, 1_723_161_255_000_000 + n, 77, n), f"S{n % 3}")
        for n in range(first, first + count)
    ]


def _produce(settings: KafkaSettings, exchange: str, count: int, first: int = 0) -> None:
    with FrameProducer(settings, exchange, Kind.TRADES) as producer:
        producer.send_many(_frames(count, first))


def _read(settings: KafkaSettings, exchange: str, limit: int = 10_000) -> pa.Table:
    with TopicReader(settings, raw_topic(Kind.TRADES, exchange)) as reader:
        ends = {p: high for p, (_, high) in reader.watermarks().items()}
        tables, at = [], dict[int, int]()
        while (batch := reader.read(at, ends, limit)) is not None:
            tables.append(batch.table)
            at = batch.next_offsets
    return pa.concat_tables(tables).sort_by("sequence")


def _transact(server: KafkaServer, exchange: str, partition: int, *, commit: bool) -> None:
    """Two frames of another producer, in one transaction."""
    client = Producer({**server.settings.client(), "transactional.id": uuid.uuid4().hex})
    client.init_transactions()
    client.begin_transaction()
    for n in range(2):
        header = encode_header(1, 2, 900 + n, Origin.LIVE)
        client.produce(
            raw_topic(Kind.TRADES, exchange),
            b"{}",
            partition=partition,
            headers=[(HEADER_KEY, header)],
        )
    client.flush()
    if commit:
        client.commit_transaction()
    else:
        client.abort_transaction()


def test_frames_come_back_whole_with_the_time_of_their_arrival(
    kafka_server: KafkaServer, exchange: str
) -> None:
    before = time.time()
    _produce(kafka_server.settings, exchange, 5000)
    table = _read(kafka_server.settings, exchange, 700)
    assert table["sequence"].to_pylist() == list(range(5000))
    assert table["payload"][4999].as_py() == b'{"n":4999}'
    assert set(table["exchange_symbol"].to_pylist()) == {"S0", "S1", "S2"}
    arrived = [t.timestamp() for t in table["kafka_timestamp"].to_pylist()]
    assert before - 1 < min(arrived) <= max(arrived) < time.time() + 1


def test_a_restart_in_the_middle_of_producing_loses_and_repeats_nothing(
    kafka_server: KafkaServer, exchange: str
) -> None:
    producer = FrameProducer(kafka_server.settings, exchange, Kind.TRADES)
    producer.send_many(_frames(2000))
    kafka_server.stop()
    producer.send_many(_frames(2000, 2000))
    starting = threading.Thread(target=kafka_server.start)
    starting.start()
    producer.send_many(_frames(2000, 4000))
    starting.join()
    kafka_server.kill()
    producer.send_many(_frames(2000, 6000))
    kafka_server.start()
    assert sum(producer.flush().values()) == 8000
    table = _read(kafka_server.settings, exchange)
    assert table["sequence"].to_pylist() == list(range(8000))


def test_a_restart_in_the_middle_of_reading_loses_and_repeats_nothing(
    kafka_server: KafkaServer, exchange: str
) -> None:
    _produce(kafka_server.settings, exchange, 6000)
    sequences: list[int] = []
    at: dict[int, int] = {}
    topic = raw_topic(Kind.TRADES, exchange)
    # However long the restart takes: what is lost is asked here, not how soon it is told.
    with TopicReader(kafka_server.settings, topic, answer_within_s=60) as reader:
        ends = {p: high for p, (_, high) in reader.watermarks().items()}
        restarting = None
        while (batch := reader.read(at, ends, 100)) is not None:
            sequences += batch.table["sequence"].to_pylist()
            at = batch.next_offsets
            if restarting is None and len(sequences) >= 1000:
                restarting = threading.Thread(target=kafka_server.restart)
                restarting.start()
            if len(sequences) == 2000:
                _wait_for(restarting)
                reader.watermarks()
    assert sorted(sequences) == list(range(6000))


def _wait_for(thread: threading.Thread | None) -> None:
    assert thread is not None
    thread.join()


def test_frames_before_a_gap_are_read_and_the_gap_is_told_with_its_numbers(
    kafka_server: KafkaServer, exchange: str
) -> None:
    """Offsets of partition 0: frames 0 and 1 of a transaction, its mark 2, frames from 3 on."""
    _transact(kafka_server, exchange, 0, commit=True)
    _produce(kafka_server.settings, exchange, 30)
    with TopicReader(kafka_server.settings, raw_topic(Kind.TRADES, exchange)) as reader:
        ends = {p: high for p, (_, high) in reader.watermarks().items()}
        batch = reader.read({}, {0: ends[0]}, 1000)
        assert batch is not None
        assert batch.table["kafka_offset"].to_pylist() == [0, 1]
        assert batch.next_offsets == {0: 2}
        told = (
            r"raw\[0\]: expected offset 2, found 3: .*from offset 0 on.* transactions .*new-epoch"
        )
        with pytest.raises(OffsetHole, match=told):
            reader.read(batch.next_offsets, ends, 1000)
        assert reader.next_frames({0: 2, 1: ends[1]}) == {0: 3, 1: ends[1]}
        rest = reader.read({0: 3}, ends, 1000)
        assert rest is not None
        assert sorted(rest.table["sequence"].to_pylist()) == list(range(30))


@pytest.mark.parametrize("commit", [True, False])
def test_a_gap_at_the_end_of_a_topic_is_told_at_once(
    kafka_server: KafkaServer, exchange: str, commit: bool
) -> None:
    _transact(kafka_server, exchange, 1, commit=commit)
    first = 2 if commit else 0
    with TopicReader(kafka_server.settings, raw_topic(Kind.TRADES, exchange)) as reader:
        ends = {p: high for p, (_, high) in reader.watermarks().items()}
        assert ends == {0: 0, 1: 3}
        began = time.monotonic()
        with pytest.raises(OffsetHole, match=rf"raw\[1\]: expected offset {first}, found 3"):
            reader.read({1: first}, ends, 1000)
        assert time.monotonic() - began < 5
        assert reader.next_frames({1: first}) == {1: 3}


def test_a_log_cut_below_the_position_is_a_hole_with_its_numbers(
    kafka_server: KafkaServer, exchange: str
) -> None:
    topic = raw_topic(Kind.TRADES, exchange)
    with FrameProducer(kafka_server.settings, exchange, Kind.TRADES) as producer:
        producer.send_many((frame, "S0") for frame, _ in _frames(50))
        ((partition, count),) = producer.flush().items()
    assert count == 50
    client = AdminClient(kafka_server.settings.client())
    (cut,) = client.delete_records([TopicPartition(topic, partition, 20)]).values()
    assert cut.result().low_watermark == 20
    with TopicReader(kafka_server.settings, topic) as reader:
        assert reader.watermarks()[partition] == (20, 50)
        told = rf"raw\[{partition}\]: expected offset 7, found 20: 13 frames are no longer in Kafka"
        with pytest.raises(OffsetHole, match=told):
            reader.read({partition: 7}, {partition: 50}, 100)
        with pytest.raises(OffsetBeyondEnd, match=r"offset 51 .* ends at 50"):
            reader.read({partition: 51}, {partition: 50}, 100)
        batch = reader.read({partition: 20}, {partition: 50}, 100)
        assert batch is not None
        assert batch.table["kafka_offset"].to_pylist() == list(range(20, 50))


def test_a_topic_made_anew_has_another_id(kafka_server: KafkaServer, exchange: str) -> None:
    topic = raw_topic(Kind.TRADES, exchange)
    first = topic_id(kafka_server.settings, topic)
    kafka_server.delete_topic(topic)
    assert topic_id(kafka_server.settings, topic) is None
    _admin(kafka_server).create([topic], TopicSettings())
    second = topic_id(kafka_server.settings, topic)
    assert first
    assert second
    assert first != second


def test_topics_are_made_once_and_what_differs_is_told(kafka_server: KafkaServer) -> None:
    name = raw_topic(Kind.QUOTES, uuid.uuid4().hex)
    admin = _admin(kafka_server)
    wanted = TopicSettings(partitions=3, retention_ms=1000, compression="zstd")
    assert admin.create([name], wanted) == [name]
    assert admin.create([name], TopicSettings()) == []
    state = admin.states([name, raw_topic(Kind.QUOTES, "absent")])[name]
    assert (state.partitions, state.replication) == (3, 1)
    assert state.config == wanted.config
    assert state.config["message.timestamp.type"] == "LogAppendTime"
    assert differences(state, wanted) == []
    assert differences(state, TopicSettings(retention_ms=-1)) == [
        "partitions is 3, not 4",
        "compression.type is zstd, not producer",
        "retention.ms is 1000, not -1",
    ]
    with pytest.raises(LogError, match=r"making the topic absent: .* refused .*[Rr]eplication"):
        admin.create(["absent"], TopicSettings(replication=3))


def test_a_topic_that_is_missing_names_the_command_that_makes_it(
    kafka_server: KafkaServer,
) -> None:
    began = time.monotonic()
    producer = FrameProducer(kafka_server.settings, "nowhere", Kind.TRADES)
    producer.send_many(_frames(3))
    with pytest.raises(TopicMissing, match=r"trades\.nowhere\.raw .*`k2 topics create`"):
        producer.flush()
    assert time.monotonic() - began < 15
    with TopicReader(kafka_server.settings, producer.topic) as reader:
        assert reader.watermarks() == {}


def test_a_broker_that_is_unreachable_is_told_in_time_and_in_one_line() -> None:
    address = f"127.0.0.1:{free_port()}"
    settings = KafkaSettings(address)
    began = time.monotonic()
    with (
        TopicReader(settings, "t", answer_within_s=1.5) as reader,
        pytest.raises(BrokerUnavailable, match=rf"no answer from Kafka at {address} .*refused"),
    ):
        reader.cluster_id()
    with pytest.raises(BrokerUnavailable, match=f"looking at the topics: no answer.*{address}"):
        TopicsAdmin(settings, answer_within_s=1.5).states(["t"])
    producer = FrameProducer(settings, "nowhere", Kind.TRADES, delivery_timeout_s=1.5)
    producer.send_many(_frames(1))
    with pytest.raises(BrokerUnavailable, match=rf"no answer from Kafka at {address}"):
        producer.flush()
    assert time.monotonic() - began < 15


def test_frames_travel_over_a_connection_with_a_password(
    kafka_server: KafkaServer, exchange: str
) -> None:
    settings = from_environment(kafka_server.sasl_environment)
    assert settings is not None
    _produce(settings, exchange, 20)
    assert _read(settings, exchange)["sequence"].to_pylist() == list(range(20))
    assert topic_id(settings, raw_topic(Kind.TRADES, exchange))


def test_frames_travel_over_tls_and_an_unknown_certificate_is_refused(
    kafka_server: KafkaServer, exchange: str
) -> None:
    environment = kafka_server.tls_environment
    settings = from_environment(environment)
    assert settings is not None
    _produce(settings, exchange, 20)
    assert _read(settings, exchange)["sequence"].to_pylist() == list(range(20))
    del environment["K2_KAFKA_SSL_CA_LOCATION"]
    stranger = from_environment(environment)
    assert stranger is not None
    with (
        TopicReader(stranger, "t", answer_within_s=2) as reader,
        pytest.raises(LogError, match=r"turned K2 away .*certificate.*K2_KAFKA_SSL_"),
    ):
        reader.cluster_id()


def test_a_wrong_password_is_told_and_not_shown(kafka_server: KafkaServer, exchange: str) -> None:
    wrong = "not-the-password-of-k2"
    environment = {**kafka_server.sasl_environment, "K2_KAFKA_SASL_PASSWORD": wrong}
    settings = from_environment(environment)
    assert settings is not None
    told = r"turned K2 away .*[Aa]uthentication.*K2_KAFKA_SASL_"
    with (
        TopicReader(settings, "t", answer_within_s=2) as reader,
        pytest.raises(LogError, match=told) as reading,
    ):
        reader.cluster_id()
    producer = FrameProducer(settings, exchange, Kind.TRADES, delivery_timeout_s=2)
    producer.send_many(_frames(1))
    with pytest.raises(LogError, match=told) as producing:
        producer.flush()
    assert not reading.value.retryable
    assert wrong not in f"{reading.value} {producing.value} {settings}"


def test_a_property_that_kafka_does_not_know_is_named() -> None:
    settings = from_environment(
        {"K2_KAFKA_BOOTSTRAP": "127.0.0.1:1", "K2_KAFKA_SASL_PASWORD": PASSWORD}
    )
    assert settings is not None
    with pytest.raises(UsageError, match=r"sasl\.pasword.*K2_KAFKA_") as told:
        FrameProducer(settings, "binance", Kind.TRADES)
    assert PASSWORD not in str(told.value)


SYMBOLS = ("BTC-USDT", "ETH-USDT")


@pytest.fixture
def binance(kafka_server: KafkaServer) -> str:
    """The topic of Binance's trades, which does not exist yet."""
    topic = raw_topic(Kind.TRADES, "binance")
    kafka_server.delete_topic(topic)
    return topic


async def _until(happened: Callable[[], bool]) -> None:
    """Wait for a condition of counters, which announce nothing; the test's timeout is the limit."""
    while not happened():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def _acknowledged(feed: Feed) -> int:
    return int(str(feed.status["acknowledged"]))


def test_a_live_feed_loses_and_repeats_nothing_over_a_restart_of_the_broker(
    kafka_server: KafkaServer, binance: str
) -> None:
    _admin(kafka_server).create([binance], TopicSettings(partitions=2))

    async def scenario() -> int:
        async with serve(rate=200) as simulator:
            plan = Plan(adapter("binance"), Kind.TRADES, SYMBOLS, (simulator.endpoint,))
            feed = Feed(plan, kafka_server.settings, None)
            stop = asyncio.Event()
            running = asyncio.create_task(run_feeds([feed], stop=stop))
            await _until(lambda: _acknowledged(feed) >= 100)
            await asyncio.to_thread(kafka_server.restart)
            before = _acknowledged(feed)
            await _until(lambda: _acknowledged(feed) >= before + 300)
            stop.set()
            await running
            assert feed.producer.outages == 0
            return _acknowledged(feed)

    acknowledged = asyncio.run(scenario())
    table = _read(kafka_server.settings, "binance")
    assert len(set(table["connection_id"].to_pylist())) == 1
    assert table["sequence"].to_pylist() == list(range(acknowledged))


def test_a_live_feed_goes_on_once_its_topic_is_made(
    kafka_server: KafkaServer, binance: str
) -> None:
    async def scenario() -> None:
        async with serve(rate=50) as simulator:
            plan = Plan(adapter("binance"), Kind.TRADES, SYMBOLS, (simulator.endpoint,))
            feed = Feed(plan, kafka_server.settings, None)
            stop = asyncio.Event()
            running = asyncio.create_task(run_feeds([feed], stop=stop))
            await _until(lambda: feed.producer.outages > 0)
            await asyncio.to_thread(_admin(kafka_server).create, [binance], TopicSettings())
            await _until(lambda: _acknowledged(feed) > 0)
            stop.set()
            await running

    asyncio.run(scenario())


def _k2(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from k2_cli.main import run; run()", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_the_command_makes_lists_and_compares_topics(kafka_server: KafkaServer) -> None:
    environment = kafka_server.sasl_environment
    for kind in ("trades", "quotes"):
        kafka_server.delete_topic(raw_topic(kind, "kraken"))
    only = ("--exchange", "kraken")
    listed = _k2(environment, "topics", "list", *only)
    assert listed.stdout.splitlines() == [
        f"market.crypto.{kind}.kraken.raw: missing; `k2 topics create` makes it"
        for kind in ("trades", "quotes")
    ]
    made = _k2(environment, "topics", "create", *only, "--retention-days", "2")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.splitlines()[0] == (
        "market.crypto.trades.kraken.raw: created, 4 partitions, replication 1, "
        "cleanup.policy=delete, compression.type=producer, "
        "message.timestamp.type=LogAppendTime, retention.ms=172800000, retention.bytes=-1"
    )
    again = _k2(environment, "topics", "create", *only)
    assert "raw: exists, 4 partitions" in again.stdout
    assert "  differs: retention.ms is 172800000, not 604800000\n" in again.stdout
    refused = _k2({**environment, "K2_KAFKA_SASL_PASSWORD": "wrong"}, "topics", "list")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "turned K2 away" in refused.stderr
    assert "wrong" not in refused.stderr
    without = _k2({"K2_KAFKA_BOOTSTRAP": ""}, "topics", "create")
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "embedded broker" in without.stderr
