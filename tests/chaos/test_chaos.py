"""Killed at seeded places, started again, and every row counted: ``make chaos`` in short."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console

from benchmarks.chaos.__main__ import MEMORY, chaos
from benchmarks.chaos.campaign import Stage
from benchmarks.chaos.market import EXCHANGE
from benchmarks.chaos.report import table
from benchmarks.chaos.truth import Difference
from k2_assets.resources import BROKER_FOLDER
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import BOOTSTRAP
from k2_feeds.kafka.topics import raw_topic
from k2_market.kinds import Kind
from tests.kafka_server import KafkaServer

KILLS = 3


@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_no_row_is_lost_or_doubled_wherever_the_process_is_killed(
    kafka_server: KafkaServer, postgres_database: str
) -> None:
    # In memory: Dagster's SQLite syncs the disk hundreds of times in a run.
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        _killed_in(Path(folder), kafka_server, postgres_database)


def _killed_in(folder: Path, kafka_server: KafkaServer, postgres_database: str) -> None:
    kafka_server.delete_topic(raw_topic(Kind.TRADES, EXCHANGE))
    servers = {
        BOOTSTRAP: kafka_server.settings.bootstrap,
        "K2_CATALOG_URI": postgres_database,
    }
    console = Console(width=140)
    with start_broker(folder / "embedded" / BROKER_FOLDER):
        stages = [
            Stage("embedded", "SQLite", folder / "embedded", {}),
            Stage("Kafka", "PostgreSQL", folder / "Kafka", servers),
        ]
        tallies = chaos(stages, KILLS, 7, console)
    console.print(table(tallies))
    for tally in tallies.values():
        assert tally.failures == []
        assert tally.kills.total() >= KILLS
        assert tally.found == Difference(lost=0, doubled=0, wrong=0)
        assert tally.after_kill == Difference(lost=0, doubled=0, wrong=0)
        assert (tally.checks_failed, tally.checks_passed > 50) == (0, True)
