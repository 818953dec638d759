"""``k2 publish``: killed and started again, stopped in order, and what it says of mistakes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient

from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.topics import raw_topic, typed_topic
from k2_market.kinds import Kind
from tests.frames import Print
from tests.kafka_server import KafkaServer
from tests.needs import CHECKOUT
from tests.services import free_port, wait_until

K2 = [sys.executable, "-c", "from k2_cli.main import run; run()"]
EXCHANGE = "binance_coinm"
RAW, TYPED = raw_topic(Kind.TRADES, EXCHANGE), typed_topic(Kind.TRADES, EXCHANGE)
ONLY = ("--exchange", EXCHANGE, "--kind", "trades")


def environment(home: Path, **more: str) -> dict[str, str]:
    names = {name: value for name, value in os.environ.items() if not name.startswith("K2_")}
    return {**names, "K2_HOME": str(home), "COLUMNS": "200", **more}


def k2(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*K2, *arguments],
        cwd=CHECKOUT,
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def produce(settings: KafkaSettings, count: int) -> None:
    trades = [Print(n, n, "60000.1", "1", symbol=f"S{n % 5}USD_PERP") for n in range(count)]
    frames = [(Frame(p.binance(), p.received_us, 7, p.trade_id), p.symbol) for p in trades]
    with FrameProducer(settings, EXCHANGE, Kind.TRADES) as producer:
        producer.send_many(frames)


@pytest.fixture
def cluster(kafka_server: KafkaServer, registry: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a cluster whose topics of the exchange are new."""
    for topic in (RAW, TYPED):
        kafka_server.delete_topic(topic)
    names = {
        "K2_KAFKA_BOOTSTRAP": kafka_server.settings.bootstrap,
        "K2_SCHEMA_REGISTRY_URL": registry,
    }
    made = k2(tmp_path, "topics", "create", "--typed", "--exchange", EXCHANGE, **names)
    assert (made.returncode, made.stderr) == (0, "")
    assert f"{TYPED}: created, 4 partitions" in made.stdout
    yield names
    with SchemaRegistryClient({"url": registry}) as client:
        for subject in client.get_subjects():
            client.delete_subject(subject)


def size(settings: KafkaSettings) -> int:
    """What the typed topic has taken, committed or not, marks of transactions included."""
    consumer = Consumer({**settings.client(), "group.id": "size"})
    try:
        partitions = consumer.list_topics(TYPED, timeout=10).topics[TYPED].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(TYPED, p), 10) for p in partitions]
        return sum(high for _, high in ends)
    finally:
        consumer.close()


def documented_example() -> Any:
    """The function ``records`` of the page on typed topics."""
    page = (CHECKOUT / "docs/typed-topics.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/typed-topics.md", "exec"), names)
    return names["records"]


def killed_after(reached: int, settings: KafkaSettings, env: dict[str, str]) -> int:
    """Publish until the typed topic has more than it had, and kill; how much it has then."""
    process = subprocess.Popen(
        [*K2, "publish", *ONLY],
        cwd=CHECKOUT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: size(settings) > reached, "a record more", 60)
    process.kill()
    process.wait()
    return size(settings)


@pytest.mark.kafka
@pytest.mark.registry
@pytest.mark.timeout(300)
def test_killed_midway_and_started_again_it_publishes_each_trade_once(
    kafka_server: KafkaServer, cluster: dict[str, str], tmp_path: Path
) -> None:
    count = 40_000
    produce(kafka_server.settings, count)
    reached = 0
    for _ in range(2):
        reached = killed_after(reached, kafka_server.settings, environment(tmp_path, **cluster))
    assert reached < count
    done = k2(tmp_path, "publish", "--once", *ONLY, **cluster)
    assert (done.returncode, done.stdout.split(":")[0]) == (0, TYPED), done.stderr
    addresses = cluster["K2_KAFKA_BOOTSTRAP"], cluster["K2_SCHEMA_REGISTRY_URL"]
    stream = documented_example()(*addresses, TYPED)
    found = [int(row["trade_id"]) for row in islice(stream, count)]
    stream.close()
    assert sorted(found) == list(range(count))
    again = k2(tmp_path, "publish", "--once", *ONLY, **cluster)
    assert (again.returncode, again.stdout) == (0, "nothing new to publish\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_on_the_embedded_broker_until_a_signal_then_it_sums_up(
    tmp_path: Path, number: signal.Signals
) -> None:
    with start_broker(tmp_path / "broker") as broker:
        produce(broker.settings, 3000)
        process = subprocess.Popen(
            [*K2, "publish", *ONLY],
            cwd=CHECKOUT,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: size(broker.settings) == 3000, "all records", 60)
        process.send_signal(number)
        out, error = process.communicate(timeout=30)
    told = f"{TYPED}: 3,000 records of 3,000 frames, 0 rejected\n"
    assert (process.returncode, out, error.strip()) == (0, told, "")


def test_a_registry_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/apis/ccompat/v7"
    with start_broker(tmp_path / "broker"):
        done = k2(tmp_path, "publish", "--once", *ONLY, K2_SCHEMA_REGISTRY_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("k2: reading market.crypto.trades.binance_coinm-value: no answer")
    assert f"from the Schema Registry at {url}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "more", "code", "told"),
    [
        (["--begin", "now"], {}, 2, "--begin was 'now'. Use earliest or latest."),
        (["--kind", "books"], {}, 2, "unknown kind of data 'books'. Known: quotes, trades."),
        (["--exchange", "moon"], {}, 2, "unknown exchange 'moon'"),
        ([], {}, 1, "no broker: K2_KAFKA_BOOTSTRAP is not set and none is running"),
        (
            [],
            {"K2_KAFKA_BOOTSTRAP": "127.0.0.1:1"},
            2,
            "K2_SCHEMA_REGISTRY_URL is not set",
        ),
    ],
)
def test_a_mistake_is_one_line_with_what_to_do(
    tmp_path: Path, arguments: list[str], more: dict[str, str], code: int, told: str
) -> None:
    done = k2(tmp_path, "publish", *arguments, **more)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
