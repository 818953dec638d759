"""From Kafka to candles in a process of its own: ``python -m tests.spark_chain HOME FRAMES``.

What is more than so many FRAMES is for the engine's workers. The environment says where Kafka and
the catalog are, which engine works and where. A process has one Spark only, and the tests' own is
another.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dagster_duckdb import DuckDBResource

from k2_assets import ingest
from k2_assets.resources import engine_for
from k2_feeds.kafka.cluster import KafkaSettings
from k2_lake import silver
from tests.lakes import LakeDriver


def run_chain(home: Path) -> None:
    """What the topics of trades hold, to the candles of all timeframes."""
    driver = LakeDriver(home, os.environ)
    driver.engine = engine_for(driver.lake, DuckDBResource(database=":memory:"))
    kafka = KafkaSettings(os.environ["K2_KAFKA_BOOTSTRAP"])
    while ingest.drain(driver.lake, kafka, "binance", driver.kind).lag:
        pass
    driver.tick()


if __name__ == "__main__":
    ingest.FRAMES_PER_COMMIT = silver.FRAMES_PER_COMMIT = int(sys.argv[2])
    run_chain(Path(sys.argv[1]))
