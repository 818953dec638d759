"""Topics that are not as bronze left them, found on Apache Kafka and mended by the command told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from k2_assets import freshness
from k2_assets.ingest import drain
from k2_cli.doctor import examine
from k2_cli.main import app
from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings
from k2_feeds.kafka.cluster import BOOTSTRAP, KafkaSettings
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.topics import raw_topic
from k2_market.findings import Finding, State
from k2_market.kinds import Kind
from tests.frames import Print
from tests.kafka_server import KafkaServer
from tests.lakes import LakeDriver, open_lake
from tests.services import free_port

pytestmark = pytest.mark.kafka

TOPIC, EPOCH = raw_topic(Kind.TRADES, "binance"), "k2 bronze new-epoch binance --kind trades"


def produce(kafka: KafkaSettings, count: int) -> None:
    with FrameProducer(kafka, "binance", Kind.TRADES) as producer:
        for n in range(count):
            one = Print(n, n, "1", "1")
            producer.send(Frame(one.binance(), one.received_us, 1, n), one.symbol)


def found(home: Path, part: str = "kafka") -> list[Finding]:
    return [f for f in examine(home) if f.state is not State.OK and f.part == part]


def mended(home: Path, finding: Finding) -> None:
    """Run the last command that a finding names."""
    command = finding.mend[finding.mend.rindex("k2 ") + 3 :].split()
    result = CliRunner().invoke(app, [*command, "--home", str(home)])
    assert result.exit_code == 0, result.exception


def test_what_became_of_a_topic_is_found_and_mended_by_its_command(
    tmp_path: Path, kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, home = kafka_server.settings, tmp_path
    monkeypatch.setenv(BOOTSTRAP, kafka.bootstrap)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    kafka_server.delete_topic(TOPIC)
    make(kafka)
    lake = open_lake(home)
    produce(kafka, 20)
    drain(lake, kafka, "binance", Kind.TRADES)
    LakeDriver(home).tick()
    assert found(home) == found(home, "freshness") == []

    produce(kafka, 5)
    assert [f.told for f in examine(home) if f.what == TOPIC] == [
        "5 frames wait for bronze.binance_trades"
    ]
    passing(monkeypatch, seconds=500)
    late = {f.what: f.told for f in found(home, "freshness")}
    assert late["bronze.binance_trades"].endswith("s behind, 30 are allowed")
    assert late["gold.ohlcv_1m"].endswith("s behind, 60 are allowed")
    assert "gold.quotes" not in late
    drain(lake, kafka, "binance", Kind.TRADES)
    LakeDriver(home).tick()
    assert found(home, "freshness") == []

    produce(kafka, 30)
    cut(kafka, 40)
    [hole] = found(home)
    assert hole.told.endswith("needs offset 25 next, Kafka keeps 40 on: 15 frames are lost")
    assert hole.mend == EPOCH
    mended(home, hole)
    drain(lake, kafka, "binance", Kind.TRADES)
    assert found(home) == []

    kafka_server.delete_topic(TOPIC)
    [gone] = found(home)
    assert (gone.what, gone.mend) == (TOPIC, f"k2 topics create, then {EPOCH}")
    make(kafka)
    [anew] = found(home)
    assert anew.told == "the topic was deleted and made anew since bronze.binance_trades read it"
    mended(home, anew)
    assert found(home) == []

    monkeypatch.setenv(BOOTSTRAP, f"127.0.0.1:{free_port()}")
    [away] = found(home)
    assert (away.what, away.mend) == ("broker", "start it, or correct K2_KAFKA_BOOTSTRAP")


def make(kafka: KafkaSettings) -> None:
    TopicsAdmin(kafka).create([TOPIC], TopicSettings(partitions=1))


def cut(kafka: KafkaSettings, offset: int) -> None:
    client = AdminClient(kafka.client())
    (done,) = client.delete_records([TopicPartition(TOPIC, 0, offset)]).values()
    done.result()


def passing(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(seconds=seconds)

    monkeypatch.setattr(freshness, "datetime", Later)


def test_a_registry_that_does_not_answer_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_SCHEMA_REGISTRY_URL", f"http://u:hunter2@127.0.0.1:{free_port()}")
    monkeypatch.delenv(BOOTSTRAP, raising=False)
    open_lake(tmp_path).table("gold.trades")
    [finding] = found(tmp_path, "registry")
    assert finding.mend == "start it, or correct K2_SCHEMA_REGISTRY_URL"
    assert "no answer from the Schema Registry at http://127.0.0.1" in finding.told
    assert "hunter2" not in finding.told
