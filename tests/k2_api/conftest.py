from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.k2_api.lake_of_trades import Made, TradeLake, many
from tests.keyed import keyed

DAY_S = 86_400

FILLED = [
    *many(60),
    *many(40, first=1001, own="ETHUSDT", symbol="ETH-USDT"),
    *many(30, exchange="kraken", own="XBT/USD", symbol="BTC-USD"),
    Made(
        5000,
        DAY_S + 0.000001,
        price="0.00000001",
        quantity="12345678901234567890.12345678",
        conditions=["INSURANCE_FUND", 'odd "name", ü'],
        vendor={"X": "MARKET", "note": "a,b"},
    ),
]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    """A lake of two days, two exchanges and three instruments; tests only read it."""
    lake = TradeLake(tmp_path_factory.mktemp("filled"))
    lake.add(FILLED)
    return lake


@pytest.fixture(scope="session")
def client(filled: TradeLake) -> Iterator[TestClient]:
    with keyed(filled.settings, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def growing(tmp_path: Path) -> TradeLake:
    """A lake of its own, for a test that writes."""
    lake = TradeLake(tmp_path)
    lake.add(many(20))
    return lake
