from __future__ import annotations

from collections.abc import Iterator

import pytest

from k2_api.app import create_app
from k2_client import K2
from tests.api_server import serving
from tests.k2_api.conftest import FILLED
from tests.k2_api.lake_of_everything import lake_of_everything
from tests.k2_api.lake_of_trades import TradeLake
from tests.keyed import fast_key


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    """Two days of trades of three instruments on two exchanges, and rows of all else."""
    lake = lake_of_everything(tmp_path_factory.mktemp("served"))
    lake.add(FILLED[-1:])
    return lake


@pytest.fixture(scope="session")
def key(lake: TradeLake) -> str:
    return fast_key(lake.settings)


@pytest.fixture(scope="session")
def address(lake: TradeLake) -> Iterator[str]:
    """The API over the lake."""
    with serving(create_app(lake.settings)) as address:
        yield address


@pytest.fixture(scope="session")
def k2(address: str, key: str) -> Iterator[K2]:
    with K2(address, key) as k2:
        yield k2
