"""A cluster, started as docker-compose.yml starts it, makes of Kafka's frames what DuckDB makes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.topics import raw_topic
from k2_market.kinds import Kind
from tests.frames import Print
from tests.kafka_server import KafkaServer
from tests.lakes import LakeDriver
from tests.needs import postgres_programs
from tests.services import create_database, running
from tests.spark_chain import run_chain
from tests.spark_cluster import SparkCluster

pytestmark = [
    pytest.mark.spark,
    pytest.mark.kafka,
    pytest.mark.local_storage,
    pytest.mark.timeout(900),
]

# Some of one millisecond, some twice, one that no candle counts, one that breaks a rule.
PRINTS = [
    Print(
        i % 90,
        (i % 90) // 4 * 900_000,
        f"{i % 90 + 100}.{(i % 90) * 12_345_679 % 10**8:08d}",
        f"{i % 3}.{(i % 90) * 98_765_431 % 10**8 + 1:08d}",
        symbol="ETHUSDT" if i % 2 else "BTCUSDT",
        execution="INSURANCE_FUND" if i % 90 == 7 else "MARKET",
    )
    for i in range(1, 120)
] + [Print(900, 5, "0", "1")]


@pytest.fixture(scope="module")
def kafka(kafka_without_topics: KafkaServer) -> KafkaSettings:
    """A cluster that holds the frames."""
    settings = kafka_without_topics.settings
    TopicsAdmin(settings).create([raw_topic(Kind.TRADES, "binance")], TopicSettings(partitions=2))
    with FrameProducer(settings, "binance", Kind.TRADES) as producer:
        producer.send_many(
            (Frame(p.binance(), p.received_us, 7, n), p.symbol) for n, p in enumerate(PRINTS)
        )
        producer.flush()
    return settings


@pytest.fixture(scope="module")
def by_duckdb(
    tmp_path_factory: pytest.TempPathFactory, kafka: KafkaSettings
) -> dict[str, list[dict[str, object]]]:
    """All rows of every table, as one machine makes them."""
    home = tmp_path_factory.mktemp("duckdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("K2_KAFKA_BOOTSTRAP", kafka.bootstrap)
        run_chain(home)
        found = LakeDriver(home).everything()
    assert all(found[f"gold.ohlcv_{name}"] for name in ("1m", "5m", "30m", "1h", "1d"))
    assert len(found["gold.trades"]) == 90
    assert len(found["silver.rejected"]) == 1
    return found


@contextmanager
def chain_on(
    cluster: SparkCluster, home: Path, kafka: KafkaSettings, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The chain in a process of its own; at the end of the block it must end well."""
    told = {"K2_ENGINE": "spark", "K2_KAFKA_BOOTSTRAP": kafka.bootstrap, **more}
    command = [sys.executable, "-m", "tests.spark_chain", str(home), "30"]
    log = home / "chain.log"
    with (
        log.open("wb") as said,
        running(command, env={**cluster.environment, **told}, stdout=said, stderr=said) as process,
    ):
        yield process
        assert process.wait() == 0, log.read_text(errors="replace")[-4000:]


def test_a_worker_that_is_lost_while_it_writes_costs_no_row_and_doubles_none(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    spark_cluster: SparkCluster,
    kafka: KafkaSettings,
    by_duckdb: dict[str, list[dict[str, object]]],
) -> None:
    catalog = {}
    if postgres_programs():
        server = request.getfixturevalue("postgres_server")
        catalog["K2_CATALOG_URI"] = create_database(server, "k2_on_a_cluster")
    spark_cluster.hold_next_write()
    with chain_on(spark_cluster, tmp_path, kafka, **catalog):
        spark_cluster.kill_held()
    assert len(spark_cluster.alive()) == 1
    driver = LakeDriver(tmp_path, catalog)
    assert driver.everything() == by_duckdb
    assert files_of_nobody(driver) > 0


def files_of_nobody(driver: LakeDriver) -> int:
    """How many data files no commit refers to: what the lost worker wrote."""
    tables = [
        driver.lake.table(name) for name in ("bronze.binance_trades", "silver.binance_trades")
    ]
    folders = [Path(table.location().removeprefix("file://")) for table in tables]
    written = sum(len([*folder.rglob("*.parquet")]) for folder in folders)
    return written - sum(table.inspect.files().num_rows for table in tables)


def test_the_chain_through_a_connect_server_makes_what_one_machine_makes(
    tmp_path: Path,
    spark_cluster: SparkCluster,
    kafka: KafkaSettings,
    by_duckdb: dict[str, list[dict[str, object]]],
) -> None:
    with (
        spark_cluster.connect_server() as address,
        chain_on(spark_cluster, tmp_path, kafka, K2_SPARK_MASTER=address),
    ):
        pass
    assert LakeDriver(tmp_path).everything() == by_duckdb
