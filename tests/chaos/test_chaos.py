"""Killed at seeded places, started again, and every row counted: ``make chaos`` in short."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.chaos.__main__ import chaos
from benchmarks.chaos.campaign import Stage
from benchmarks.chaos.report import table
from k2_assets.resources import BROKER_FOLDER
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import BOOTSTRAP
from k2_feeds.kafka.topics import raw_topic
from k2_market.kinds import Kind
from tests.kafka_server import KafkaServer

KILLS = 5


@pytest.mark.timeout(240)
def test_no_row_is_lost_or_doubled_by_kills_over_the_embedded_broker_and_sqlite(
    tmp_path: Path,
) -> None:
    with start_broker(tmp_path / BROKER_FOLDER):
        _survives(Stage("embedded", "SQLite", tmp_path, {}))


@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_no_row_is_lost_or_doubled_by_kills_over_kafka_and_postgresql(
    tmp_path: Path, kafka_server: KafkaServer, postgres_database: str
) -> None:
    kafka_server.delete_topic(raw_topic(Kind.TRADES, "binance"))
    environment = {
        BOOTSTRAP: kafka_server.settings.bootstrap,
        "K2_CATALOG_URI": postgres_database,
    }
    _survives(Stage("Kafka", "PostgreSQL", tmp_path, environment))


def _survives(stage: Stage) -> None:
    console = Console(width=140)
    tallies = chaos([stage], KILLS, 7, console)
    console.print(table(tallies))
    tally = tallies[stage.name]
    assert tally.failures == []
    assert tally.kills.total() >= KILLS
    assert (tally.found.lost, tally.found.doubled, tally.found.wrong) == (0, 0, 0)
    assert (tally.after_kill.doubled, tally.after_kill.wrong) == (0, 0)
    assert (tally.checks_failed, tally.checks_passed > 50) == (0, True)
