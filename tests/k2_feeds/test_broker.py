"""The embedded broker: a process that ordinary clients reach and that never outlives its parent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from k2_feeds.kafka.broker import PARTITIONS, broker_settings, start_broker
from k2_feeds.kafka.cluster import KafkaSettings, from_environment
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_market.errors import BrokerUnavailable, UnknownName
from k2_market.kinds import Kind, kind_of


def test_clients_reach_it_by_the_address_that_it_wrote(tmp_path: Path) -> None:
    with start_broker(tmp_path) as broker:
        settings = broker_settings(tmp_path)
        assert settings == broker.settings
        assert settings is not None
        assert settings.embedded
        with FrameProducer(settings, "binance", Kind.TRADES) as producer:
            producer.send(Frame(b"{}", 1, 2, 3), "BTCUSDT")
        with TopicReader(settings, producer.topic) as reader:
            assert len(reader.watermarks()) == PARTITIONS
            assert reader.cluster_id() != ""
    assert not broker.running


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from k2_feeds.kafka.broker import start_broker\n"
        "broker = start_broker(pathlib.Path(sys.argv[1]))\n"
        "print(broker.process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    _await_end(pid)


def _await_end(pid: int) -> None:
    """Wait until no process of this id runs; the test's timeout is the limit."""
    while Path(f"/proc/{pid}").exists():
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return
        subprocess.run(["sleep", "0.05"], check=True)


def test_a_broker_that_is_gone_is_an_error_that_names_its_address(tmp_path: Path) -> None:
    with start_broker(tmp_path) as broker:
        settings = broker.settings
    with (
        TopicReader(settings, raw_topic(Kind.TRADES, "binance"), answer_within_s=0.5) as reader,
        pytest.raises(BrokerUnavailable, match=settings.bootstrap),
    ):
        reader.watermarks()
    producer = FrameProducer(settings, "binance", Kind.TRADES, delivery_timeout_s=0.5)
    producer.send(Frame(b"{}", 1, 2, 3), "BTCUSDT")
    with pytest.raises(BrokerUnavailable, match=r"market\.crypto\.trades\.binance\.raw"):
        producer.flush(5)
    with pytest.raises(BrokerUnavailable):
        producer.send(Frame(b"{}", 1, 2, 4), "BTCUSDT")


def test_no_broker_was_started_where_there_is_no_address(tmp_path: Path) -> None:
    assert broker_settings(tmp_path) is None


def test_the_environment_names_the_cluster_and_any_property() -> None:
    env = {
        "K2_KAFKA_BOOTSTRAP": "a:9092,b:9092",
        "K2_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "K2_KAFKA_SASL_PASSWORD": "hunter2",
        "PATH": "/bin",
    }
    settings = from_environment(env)
    assert settings == KafkaSettings(
        "a:9092,b:9092",
        extra={"security.protocol": "SASL_SSL", "sasl.password": "hunter2"},
    )
    assert "hunter2" not in repr(settings)
    assert settings.client(linger_ms=5)["linger.ms"] == 5
    assert settings.client(security_protocol="plaintext")["security.protocol"] == "SASL_SSL"
    assert from_environment({"K2_KAFKA_SECURITY_PROTOCOL": "SSL"}) is None


def test_a_topic_is_named_by_kind_and_exchange() -> None:
    assert raw_topic(Kind.QUOTES, "kraken") == "market.crypto.quotes.kraken.raw"
    with pytest.raises(UnknownName, match="books"):
        kind_of("books")
