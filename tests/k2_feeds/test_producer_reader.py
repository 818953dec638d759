"""Frames into Kafka and back out by offset, over the embedded broker."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from confluent_kafka import Producer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2_feeds.adapter import Channel
from k2_feeds.adapters import adapter
from k2_feeds.kafka.backlog import Backlog
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.frame import Frame, MalformedHeader, Origin
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.live.router import FrameRouter
from k2_market.errors import OffsetBeyondEnd, OffsetHole
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with start_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def exchange() -> str:
    """A name of its own, so a topic of its own, for each test."""
    return uuid.uuid4().hex


def _frames(count: int, size: int = 100) -> list[Frame]:
    noise = random.Random(size)
    return [Frame(noise.randbytes(size), 1_723_161_255_000_000 + n, 77, n) for n in range(count)]


def _ends(reader: TopicReader) -> dict[int, int]:
    return {partition: high for partition, (_, high) in reader.watermarks().items()}


def _read_all(reader: TopicReader, start: Mapping[int, int], limit: int) -> list[pa.Table]:
    end, at, tables = _ends(reader), dict(start), []
    while (batch := reader.read(at, end, limit)) is not None:
        assert 1 <= batch.table.num_rows <= limit
        tables.append(batch.table)
        at = batch.next_offsets
    assert {p: at.get(p, 0) for p in end} == end
    return tables


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    payloads=st.lists(st.binary(max_size=300), min_size=1, max_size=40),
    keys=st.lists(st.sampled_from(["BTCUSDT", "ETH/USD", "XRP", None]), min_size=1),
    limit=st.integers(1, 50),
)
def test_what_was_produced_is_read_exactly_once(
    broker: EmbeddedBroker, payloads: list[bytes], keys: list[str | None], limit: int
) -> None:
    sent = [
        (Frame(payload, 1_700_000_000_000_000 + n, 2**63 - 1, n), keys[n % len(keys)])
        for n, payload in enumerate(payloads)
    ]
    with FrameProducer(broker.settings, uuid.uuid4().hex, Kind.TRADES) as producer:
        assert producer.send_many(sent, Origin.REPLAY) == len(sent)
        assert sum(producer.flush().values()) == len(sent)
    with TopicReader(broker.settings, producer.topic) as reader:
        rows = pa.concat_tables(_read_all(reader, {}, limit)).sort_by("sequence").to_pylist()
    found = [
        (
            Frame(
                row["payload"],
                round(row["received_at"].timestamp() * 1e6),
                row["connection_id"],
                row["sequence"],
            ),
            row["exchange_symbol"],
        )
        for row in rows
    ]
    assert found == sent
    assert {row["origin"] for row in rows} == {"replay"}


def test_the_columns_are_those_of_a_raw_frame(broker: EmbeddedBroker, exchange: str) -> None:
    before = datetime.now(UTC)
    with FrameProducer(broker.settings, exchange, Kind.TRADES) as producer:
        producer.send_many(((f, "BTCUSDT") for f in _frames(1000)), Origin.LIVE)
        acknowledged = producer.flush()
    with TopicReader(broker.settings, producer.topic) as reader:
        (table,) = _read_all(reader, {}, 5000)
    fields = [field for field in RAW_FRAME.schema if field.name != "epoch"]
    assert table.schema.equals(pa.schema(fields), check_metadata=True)
    assert set(table["kafka_topic"].to_pylist()) == {producer.topic}
    (partition,) = acknowledged
    assert set(table["kafka_partition"].to_pylist()) == {partition}
    assert table["kafka_offset"].to_pylist() == list(range(1000))
    assert table["payload"].to_pylist() == [frame.payload for frame in _frames(1000)]
    times = table["kafka_timestamp"].to_pylist()
    assert all(abs((time - before).total_seconds()) < 60 for time in times)
    assert table["ingest_date"].to_pylist() == [time.date() for time in times]


def test_a_topic_that_does_not_exist_has_no_partitions(
    broker: EmbeddedBroker, exchange: str
) -> None:
    with TopicReader(broker.settings, f"market.crypto.trades.{exchange}.raw") as reader:
        assert reader.watermarks() == {}
        assert reader.read({}, {}, 10) is None


def test_reading_begins_and_ends_where_it_was_told(broker: EmbeddedBroker, exchange: str) -> None:
    with FrameProducer(broker.settings, exchange, Kind.TRADES) as producer:
        producer.send_many((f, "A") for f in _frames(500))
        ((partition, _),) = producer.flush().items()
    with TopicReader(broker.settings, producer.topic) as reader:
        for first, last in [(10, 20), (15, 20), (20, 21), (0, 500), (0, 3), (3, 7), (499, 500)]:
            batch = reader.read({partition: first}, {partition: last}, 1000)
            assert batch is not None
            assert batch.table["kafka_offset"].to_pylist() == list(range(first, last))
            assert batch.next_offsets == {partition: last}
        assert reader.read({partition: 500}, {partition: 500}, 10) is None
        assert reader.read({partition: 5}, {}, 10) is None


def test_frames_written_while_reading_come_in_their_turn(
    broker: EmbeddedBroker, exchange: str
) -> None:
    frames = _frames(6000)
    keys = [f"S{n % 7}" for n in range(6000)]

    def produce() -> None:
        with FrameProducer(broker.settings, exchange, Kind.TRADES, queue_messages=50) as producer:
            producer.send_many(zip(frames, keys, strict=True))

    writing = threading.Thread(target=produce)
    writing.start()
    at: dict[int, int] = {}
    sequences: list[int] = []
    with TopicReader(broker.settings, f"market.crypto.trades.{exchange}.raw") as reader:
        while len(sequences) < len(frames):
            batch = reader.read(at, _ends(reader), 170)
            if batch is not None:
                sequences += batch.table["sequence"].to_pylist()
                at = batch.next_offsets
    writing.join()
    assert sorted(sequences) == list(range(6000))
    assert sum(at.values()) == 6000


def test_offsets_that_kafka_dropped_are_a_hole_with_its_numbers(
    broker: EmbeddedBroker, exchange: str
) -> None:
    with FrameProducer(broker.settings, exchange, Kind.TRADES) as producer:
        producer.send_many((f, "A") for f in _frames(4000, size=2000))
        ((partition, count),) = producer.flush().items()
    with TopicReader(broker.settings, producer.topic) as reader:
        low, high = reader.watermarks()[partition]
        assert (count, high) == (4000, 4000)
        assert low > 1
        told = rf"raw\[{partition}\]: expected offset 1, found {low}: {low - 1} frames"
        with pytest.raises(OffsetHole, match=told):
            reader.read({partition: 1}, {partition: high}, 10)
        batch = reader.read({partition: low}, {partition: high}, 10_000)
        assert batch is not None
        assert batch.table.num_rows == high - low


def test_an_offset_beyond_the_end_is_refused(broker: EmbeddedBroker, exchange: str) -> None:
    with FrameProducer(broker.settings, exchange, Kind.TRADES) as producer:
        producer.send_many((f, "A") for f in _frames(41))
        ((partition, _),) = producer.flush().items()
    told = rf"offset 9120 of {producer.topic}\[{partition}\] .* ends at 41"
    with TopicReader(broker.settings, producer.topic) as reader:
        for end in (41, 10_000):
            with pytest.raises(OffsetBeyondEnd, match=told):
                reader.read({partition: 9120}, {partition: end}, 10)


def test_a_message_of_another_producer_is_named(broker: EmbeddedBroker, exchange: str) -> None:
    topic = f"market.crypto.trades.{exchange}.raw"
    foreign = Producer(broker.settings.client())
    foreign.produce(topic, b"{}", partition=2, headers=[("k2", b"x"), ("other", b"y")])
    assert foreign.flush(10) == 0
    with (
        TopicReader(broker.settings, topic) as reader,
        pytest.raises(MalformedHeader, match=rf"^{topic}\[2\] offset 0 has no header"),
    ):
        reader.read({}, _ends(reader), 10)


def test_a_frame_of_no_symbol_has_no_key(broker: EmbeddedBroker, exchange: str) -> None:
    with FrameProducer(broker.settings, exchange, Kind.TRADES) as producer:
        producer.send(Frame(b"a", 1, 2, 3), None)
    with TopicReader(broker.settings, producer.topic) as reader:
        (table,) = _read_all(reader, {}, 10)
    assert table["exchange_symbol"].to_pylist() == [None]


def test_a_tiny_queue_loses_nothing(broker: EmbeddedBroker, exchange: str) -> None:
    with FrameProducer(broker.settings, exchange, Kind.TRADES, queue_messages=5) as producer:
        producer.send_many((f, f"S{n % 3}") for n, f in enumerate(_frames(400)))
    with TopicReader(broker.settings, producer.topic) as reader:
        table = pa.concat_tables(_read_all(reader, {}, 10_000))
    assert sorted(table["sequence"].to_pylist()) == list(range(400))


def test_a_producer_never_runs_further_ahead_than_its_backlog(
    broker: EmbeddedBroker, exchange: str, tmp_path: Path
) -> None:
    """Twenty megabytes through a partition that keeps five, read by a slower reader."""
    committed: dict[int, int] = {}
    backlog = Backlog(lambda: dict(committed))
    frames = _frames(10_000, size=2000)
    producer = FrameProducer(broker.settings, exchange, Kind.TRADES, backlog=backlog)

    def produce() -> None:
        with producer:
            producer.send_many((f, "A") for f in frames)

    writing = threading.Thread(target=produce)
    writing.start()
    payloads: list[bytes] = []
    with TopicReader(broker.settings, producer.topic) as reader:
        while len(payloads) < len(frames):
            batch = reader.read(committed, _ends(reader), 700)
            if batch is not None:
                payloads += batch.table["payload"].to_pylist()
                committed = batch.next_offsets
    writing.join()
    assert payloads == [frame.payload for frame in frames]


def test_a_backlog_is_full_until_bronze_has_committed() -> None:
    committed = {0: 0}
    backlog = Backlog(lambda: committed, bound=100_000)
    for offset in range(10):
        backlog.sent(10_000)
        assert not backlog.full or offset == 9
        backlog.delivered(0, offset, 10_000)
    assert backlog.size == 100_000
    backlog.refresh()
    assert backlog.full
    committed[0] = 4
    backlog.refresh()
    assert not backlog.full
    assert backlog.size == 60_000
    backlog.wire_ratio = 0.1
    assert backlog.size == 6_000


def test_frames_of_trades_control_and_unknown_are_sent_and_all_are_counted(
    broker: EmbeddedBroker,
) -> None:
    trade = (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1",'
        b'"q":"1","T":1,"m":true,"M":true}}'
    )
    depth = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":"BTCUSDT"}}'
    quote = b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"1"}}'
    answer, broken = b'{"result":null,"id":1}', b'{"stream":'
    payloads = [trade, depth, quote, answer, broken, trade]
    with FrameProducer(broker.settings, "binance", Kind.TRADES) as producer:
        router = FrameRouter(adapter("binance"), Kind.TRADES, producer)
        assert router.send_many(Frame(p, 1, 1, n) for n, p in enumerate(payloads)) == 4
    assert router.counts == {
        Channel.TRADES: 2,
        Channel.OTHER: 1,
        Channel.QUOTES: 1,
        Channel.CONTROL: 1,
        Channel.UNKNOWN: 1,
    }
    with TopicReader(broker.settings, producer.topic) as reader:
        table = pa.concat_tables(_read_all(reader, {}, 100))
    assert sorted(table["payload"].to_pylist()) == sorted([trade, answer, broken, trade])
    of_trades = table.filter(pc.equal(table["exchange_symbol"], "BTCUSDT"))
    assert of_trades["payload"].to_pylist() == [trade, trade]
