"""The chain on Apache Kafka: frames to candles, and topics that are not as they were."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from k2_assets import ingest
from k2_assets.ingest import drain
from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings, topic_id
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import HEADER_KEY, Frame, Origin, encode_header
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.topics import raw_topic
from k2_lake.bronze import position
from k2_lake.catalog import Lake
from k2_market.errors import BrokerUnavailable, OffsetBeyondEnd, OffsetHole, TopicMissing
from k2_market.kinds import Kind
from k2_sensors.kafka_lag import backlog
from tests.frames import Print
from tests.kafka_server import KafkaServer
from tests.lakes import open_lake
from tests.services import free_port

pytestmark = pytest.mark.kafka

BINANCE = raw_topic(Kind.TRADES, "binance")
BRONZE = "bronze.binance_trades"


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> KafkaSettings:
    """The settings of a cluster whose topic of Binance is new, of two partitions."""
    kafka_server.delete_topic(BINANCE)
    make(kafka_server.settings)
    return kafka_server.settings


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(tmp_path)


def make(kafka: KafkaSettings) -> None:
    assert TopicsAdmin(kafka).create([BINANCE], TopicSettings(partitions=2)) == [BINANCE]


def cut(kafka: KafkaSettings, partition: int, offset: int) -> None:
    client = AdminClient(kafka.client())
    (done,) = client.delete_records([TopicPartition(BINANCE, partition, offset)]).values()
    done.result()


def produce(kafka: KafkaSettings, count: int, first: int = 0) -> dict[int, int]:
    """Frames with these sequences, spread by symbol; how many went to each partition."""
    with FrameProducer(kafka, "binance", Kind.TRADES) as producer:
        producer.send_many(
            (Frame(b"{}", 1_723_161_255_000_000 + n, 7, n), f"S{n % 8}")
            for n in range(first, first + count)
        )
        return producer.flush()


def transact(kafka: KafkaSettings, partition: int) -> None:
    """One frame of another producer, and the mark that ends its transaction."""
    client = Producer({**kafka.client(), "transactional.id": "another"})
    client.init_transactions()
    client.begin_transaction()
    header = encode_header(1, 2, 900, Origin.LIVE)
    client.produce(BINANCE, b"{}", "S", partition=partition, headers=[(HEADER_KEY, header)])
    client.commit_transaction()


def drain_often(lake: Lake, kafka: KafkaSettings) -> None:
    """As ticks do, one after the other; a hole stops it."""
    for _ in range(4):
        drain(lake, kafka, "binance", Kind.TRADES)


def rows(lake: Lake) -> pa.Table:
    return lake.table(BRONZE).scan().to_arrow()


def sequences(lake: Lake) -> list[int]:
    return sorted(rows(lake)["sequence"].to_pylist())


def k2(home: Path, kafka: KafkaSettings, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("k2")), *map(str, arguments)],
        env={
            **os.environ,
            "K2_HOME": str(home),
            "K2_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "COLUMNS": "120",
        },
        capture_output=True,
        text=True,
    )


def new_epoch(home: Path, kafka: KafkaSettings) -> str:
    done = k2(home, kafka, "bronze", "new-epoch", "binance")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_drain_takes_what_is_new_and_only_once(kafka: KafkaSettings, lake: Lake) -> None:
    produced = produce(kafka, 3000)
    drained = drain(lake, kafka, "binance", Kind.TRADES)
    assert (drained.epoch, drained.lag, dict(drained.offsets)) == (1, 0, produced)
    assert drain(lake, kafka, "binance", Kind.TRADES).result.changed is False
    produce(kafka, 10, 3000)
    assert drain(lake, kafka, "binance", Kind.TRADES).result.changed is True
    assert sequences(lake) == list(range(3010))


def test_a_restart_of_the_broker_while_bronze_is_filled_loses_and_repeats_nothing(
    kafka: KafkaSettings, kafka_server: KafkaServer, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "FRAMES_PER_COMMIT", 500)
    produce(kafka, 4000)
    stopped = threading.Event()
    commit = ingest.append_frames

    def stop_after_the_third(table, at, frames, next_offsets):  # type: ignore[no-untyped-def]
        after = commit(table, at, frames, next_offsets)
        if len(table.history()) == 3:
            kafka_server.kill()
            restarting.start()
            stopped.set()
        return after

    restarting = threading.Thread(target=kafka_server.start)
    monkeypatch.setattr(ingest, "append_frames", stop_after_the_third)
    drain(lake, kafka, "binance", Kind.TRADES)
    assert stopped.is_set()
    restarting.join()
    produce(kafka, 100, 4000)
    drain(lake, kafka, "binance", Kind.TRADES)
    assert sequences(lake) == list(range(4100))


@pytest.mark.parametrize("count", [5, 500])
def test_a_topic_made_anew_stops_bronze_however_far_it_has_grown(
    kafka: KafkaSettings, kafka_server: KafkaServer, lake: Lake, tmp_path: Path, count: int
) -> None:
    produce(kafka, 100)
    before = drain(lake, kafka, "binance", Kind.TRADES).offsets
    old = topic_id(kafka, BINANCE) or ""
    kafka_server.delete_topic(BINANCE)
    make(kafka)
    produced = produce(kafka, count, 100)
    new = topic_id(kafka, BINANCE) or ""
    ids = f"{re.escape(old)}, was .* as {re.escape(new)}: .*k2 bronze new-epoch"
    told = rf"{BRONZE} holds {BINANCE} up to offsets \{{.*{before[0]}.*{ids}"
    with pytest.raises(OffsetBeyondEnd, match=told):
        drain(lake, kafka, "binance", Kind.TRADES)
    assert "goes on with epoch 2 at offsets {0: 0, 1: 0}" in new_epoch(tmp_path, kafka)
    drained = drain(lake, kafka, "binance", Kind.TRADES)
    assert (drained.epoch, dict(drained.offsets)) == (2, {0: 0, 1: 0} | produced)
    assert sequences(lake) == list(range(100 + count))
    assert sorted(set(rows(lake)["epoch"].to_pylist())) == [1, 2]


def test_a_topic_that_is_gone_is_missed_only_where_bronze_has_frames_of_it(
    kafka: KafkaSettings, kafka_server: KafkaServer, lake: Lake, tmp_path: Path
) -> None:
    assert drain(lake, kafka, "kraken", Kind.TRADES).result.changed is False
    produce(kafka, 100)
    drain(lake, kafka, "binance", Kind.TRADES)
    assert backlog(lake, kafka, Kind.TRADES).keys() == {"binance"}
    kafka_server.delete_topic(BINANCE)
    with pytest.raises(TopicMissing, match=rf"{BRONZE} holds {BINANCE} up to .*k2 topics create"):
        drain(lake, kafka, "binance", Kind.TRADES)
    assert backlog(lake, kafka, Kind.TRADES)["binance"]["ends"] == {}
    missed = k2(tmp_path, kafka, "bronze", "new-epoch", "binance")
    assert missed.returncode == 1
    assert missed.stderr == f"k2: Kafka has no topic {BINANCE}. `k2 topics create` makes it.\n"


def test_a_log_cut_below_the_position_stops_bronze_until_a_new_epoch(
    kafka: KafkaSettings, lake: Lake, tmp_path: Path
) -> None:
    produce(kafka, 200)
    before = drain(lake, kafka, "binance", Kind.TRADES).offsets
    produced = produce(kafka, 200, 200)
    assert min(produced.values()) > 10
    first = before[0] + 7
    cut(kafka, 0, first)
    told = rf"raw\[0\]: expected offset {before[0]}, found {first}: 7 frames are no longer"
    with pytest.raises(OffsetHole, match=told):
        drain(lake, kafka, "binance", Kind.TRADES)
    at = {0: first, 1: before[1]}
    assert f"epoch 2 at offsets {at}" in new_epoch(tmp_path, kafka)
    drain(lake, kafka, "binance", Kind.TRADES)
    held = sequences(lake)
    assert len(held) == len(set(held)) == 400 - 7


def test_another_producers_transaction_stops_bronze_behind_the_frames_before_it(
    kafka: KafkaSettings, lake: Lake, tmp_path: Path
) -> None:
    transact(kafka, 0)
    produced = produce(kafka, 40)
    with pytest.raises(OffsetHole, match=r"raw\[0\]: expected offset 1, found 2: .*transactions"):
        drain_often(lake, kafka)
    assert 900 in sequences(lake)
    assert "epoch 2 at offsets {0: 2, 1: " in new_epoch(tmp_path, kafka)
    drain(lake, kafka, "binance", Kind.TRADES)
    assert sequences(lake) == [*range(40), 900]
    at = position(lake.table(BRONZE))
    assert at is not None
    assert dict(at.offsets) == {0: produced[0] + 2, 1: produced[1]}


def test_an_unreachable_broker_is_told_in_time_and_in_one_line(lake: Lake, tmp_path: Path) -> None:
    nowhere = KafkaSettings(f"127.0.0.1:{free_port()}")
    with pytest.raises(BrokerUnavailable, match=nowhere.bootstrap):
        drain(lake, nowhere, "binance", Kind.TRADES)
    told = k2(tmp_path, nowhere, "bronze", "new-epoch", "binance")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.count("\n") == 1
    assert f"no answer from Kafka at {nowhere.bootstrap}" in told.stderr


def test_frames_become_candles_through_dagster_and_a_rerun_adds_nothing(
    kafka: KafkaSettings, kafka_server: KafkaServer, tmp_path: Path
) -> None:
    kafka_server.delete_topic(BINANCE)
    tape = tape_of_two_minutes(tmp_path / "frames")
    once = ("demo", "--once", "--home", tmp_path, "--frames", f"binance:{tape}")
    refused = k2(tmp_path, kafka, *once)
    assert refused.returncode == 1
    assert "`k2 topics create`" in refused.stderr.splitlines()[-1]
    assert k2(tmp_path, kafka, "topics", "create", "--exchange", "binance").returncode == 0
    candles = "select window_start, open, high, low, close, volume, trade_count from gold.ohlcv_1m"
    found = []
    for added in ("3", "0"):
        done = k2(tmp_path, kafka, *once)
        assert done.returncode == 0, done.stderr
        figures = dict(
            (cell.strip() for cell in line.strip("│ ").split("│"))
            for line in done.stdout.splitlines()
            if "│" in line
        )
        assert (figures["trades"], figures["added to gold"]) == ("3", added)
        assert figures["checks failed"] == "0"
        found.append(k2(tmp_path, kafka, "sql", "--format", "csv", candles).stdout)
    assert found[0] == found[1]
    assert found[0].splitlines()[1:] == [
        "2024-08-08T00:00:00.000000Z,100.00000000,101.00000000,100.00000000,101.00000000,3.00000000,2",
        "2024-08-08T00:01:00.000000Z,99.00000000,99.00000000,99.00000000,99.00000000,1.00000000,1",
    ]


def tape_of_two_minutes(path: Path) -> Path:
    prints = [Print(1, 0, "100", "1"), Print(2, 1000, "101", "2"), Print(3, 60_000, "99", "1")]
    path.write_bytes(b"\n".join(b"%d %s" % (p.received_us * 1000, p.binance()) for p in prints))
    return path
