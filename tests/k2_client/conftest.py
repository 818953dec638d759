from __future__ import annotations

from collections.abc import Iterator

import pytest

from k2_api.app import create_app
from k2_client import K2
from tests.api_server import serving
from tests.k2_api.conftest import FILLED
from tests.k2_api.lake_of_trades import TradeLake


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API over a lake of two days, two exchanges and three instruments."""
    lake = TradeLake(tmp_path_factory.mktemp("served"))
    lake.add(FILLED)
    with serving(create_app(lake.settings)) as address:
        yield address


@pytest.fixture(scope="session")
def k2(address: str) -> Iterator[K2]:
    with K2(address) as k2:
        yield k2
