"""Maintenance beside a writer: nothing is lost, nothing doubled, and both come to an end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from k2_lake.bronze import Position, append_frames, position
from k2_lake.commit import retry_conflicts
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.history import lineage
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import expire
from tests.frames import Print, prints_table
from tests.lakes import CLUSTER, open_lake

BRONZE = "bronze.binance_trades"
NOW = timedelta(0)
APPENDS, AT_ONCE = 8, 4


@pytest.mark.parametrize(
    "catalog", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_a_writer_and_maintenance_at_once_keep_every_offset_once(
    tmp_path: Path, catalog: str, request: pytest.FixtureRequest
) -> None:
    environment = {}
    if catalog == "postgres":
        environment["K2_CATALOG_URI"] = request.getfixturevalue("postgres_database")
    topic = prints_table([Print(n, n, "10", "1") for n in range(APPENDS * AT_ONCE)])
    open_lake(tmp_path, environment).table(BRONZE)
    written = Event()

    @retry_conflicts
    def append_one(n: int) -> None:
        table = open_lake(tmp_path, environment).table(BRONZE)
        at = position(table) or Position(1, CLUSTER)
        frames = topic.slice(n * AT_ONCE, AT_ONCE)
        append_frames(table, at, frames, {0: (n + 1) * AT_ONCE})

    def write() -> None:
        try:
            for n in range(APPENDS):
                append_one(n)
        finally:
            written.set()

    def maintain() -> int:
        lake, done = open_lake(tmp_path, environment), 0
        engine = DuckDBEngine(io=lake.io)
        while True:
            last = written.is_set()
            done += len(list(compact(lake, engine, BRONZE, quiet=NOW, worth_it=2)))
            expire(lake, BRONZE, keep=2, young=NOW)
            if last:
                return done

    with ThreadPoolExecutor(2) as pool:
        writing, maintaining = pool.submit(write), pool.submit(maintain)
        writing.result()
        compactions = maintaining.result()
    table = open_lake(tmp_path, environment).table(BRONZE)
    offsets = table.scan().to_arrow()["kafka_offset"].to_pylist()
    assert sorted(offsets) == list(range(APPENDS * AT_ONCE))
    assert position(table) == Position(1, CLUSTER, {0: APPENDS * AT_ONCE})
    assert compactions >= 1
    assert len(lineage(table)) == APPENDS + compactions
