"""Two drains of one topic at once: every offset once, whoever wins."""

from __future__ import annotations

from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from k2_assets import ingest
from k2_assets.ingest import drain
from k2_assets.resources import BROKER_FOLDER
from k2_feeds.kafka.broker import EmbeddedBroker, broker_settings, start_broker
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_lake.bronze import position
from k2_lake.history import lineage
from k2_lake.tables import bronze_name
from k2_market.kinds import Kind
from tests.lakes import open_lake

FRAMES, AT_ONCE = 1_200, 100


def produce(broker: EmbeddedBroker) -> dict[int, int]:
    with FrameProducer(broker.settings, "binance", Kind.TRADES) as producer:
        producer.send_many(
            (Frame(b"{}", 1_723_161_255_000_000 + n, 7, n), f"S{n % 16}") for n in range(FRAMES)
        )
        return producer.flush()


def drain_all(home: Path, env: dict[str, str]) -> int:
    """Commit by commit, so that two who do this meet at each of them."""
    ingest.FRAMES_PER_COMMIT_EMBEDDED = AT_ONCE
    kafka = broker_settings(home / BROKER_FOLDER)
    assert kafka is not None
    frames = 0
    while (drained := drain(open_lake(home, env), kafka, "binance", Kind.TRADES)).lag:
        frames += drained.result.figures["frames"]
    return frames + drained.result.figures["frames"]


@pytest.mark.parametrize("ways", ["threads", "processes"])
@pytest.mark.parametrize(
    "catalog", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_two_drains_at_once_share_the_topic_and_each_frame_is_taken_once(
    catalog: str,
    ways: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingest, "FRAMES_PER_COMMIT_EMBEDDED", AT_ONCE)
    env: dict[str, str] = {}
    if catalog == "postgres":
        env = {"K2_CATALOG_URI": request.getfixturevalue("postgres_database")}
    pool: Executor = (
        ThreadPoolExecutor(2)
        if ways == "threads"
        else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    )
    with start_broker(tmp_path / BROKER_FOLDER) as broker, pool:
        produced = produce(broker)
        open_lake(tmp_path, env).table(bronze_name("binance", Kind.TRADES))
        counts = list(pool.map(partial(drain_all, env=env), [tmp_path] * 2))
    table = open_lake(tmp_path, env).table(bronze_name("binance", Kind.TRADES))
    rows = table.scan(selected_fields=("kafka_partition", "kafka_offset", "sequence")).to_arrow()
    places = list(zip(*(rows[c].to_pylist() for c in rows.column_names[:2]), strict=True))
    assert sorted(places) == [(p, o) for p, end in sorted(produced.items()) for o in range(end)]
    assert sorted(rows["sequence"].to_pylist()) == list(range(FRAMES))
    assert sum(counts) == FRAMES
    at = position(table)
    assert at is not None
    assert dict(at.offsets) == produced
    assert len(lineage(table)) >= FRAMES // AT_ONCE
