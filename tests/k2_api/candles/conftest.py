from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.k2_api.candles.traded import TRADES
from tests.k2_api.lake_of_trades import TradeLake
from tests.keyed import keyed


@pytest.fixture(scope="session")
def traded(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    """A lake of the trades in ``traded``; tests only read it."""
    lake = TradeLake(tmp_path_factory.mktemp("traded"))
    lake.add(TRADES)
    return lake


@pytest.fixture(scope="session")
def asking(traded: TradeLake) -> Iterator[TestClient]:
    with keyed(traded.settings, raise_server_exceptions=False) as client:
        yield client
