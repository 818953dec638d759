"""What hostile clients are turned on: an API over a lake in which every table has rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from k2_feeds.kafka.broker import FOLDER, start_broker
from k2_lake.tables import TABLES
from tests.k2_api.lake_of_everything import lake_of_everything
from tests.k2_api.lake_of_trades import TradeLake
from tests.keyed import keyed

SEALED = "sealed"


@pytest.fixture(scope="package")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradeLake]:
    """Every table that has rows has the tag ``sealed``; a broker runs, in which nothing waits."""
    made = lake_of_everything(tmp_path_factory.mktemp("hostile"))
    for table in map(made.lake.table, TABLES):
        head = table.current_snapshot()
        if head is not None:
            table.manage_snapshots().create_tag(head.snapshot_id, SEALED).commit()
    with start_broker(made.settings.home / FOLDER):
        yield made


@pytest.fixture(scope="package")
def client(lake: TradeLake) -> Iterator[TestClient]:
    with keyed(lake.settings, raise_server_exceptions=False) as client:
        yield client
