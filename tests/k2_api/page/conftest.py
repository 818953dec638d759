from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from k2_api.app import create_app
from tests.api_server import serving
from tests.k2_api.lake_of_trades import TradeLake
from tests.k2_api.page.recorded import recorded_lake
from tests.keyed import fast_key
from tests.ui.dagster_page import chromium


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    return recorded_lake(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def key(recorded: TradeLake) -> str:
    return fast_key(recorded.settings)


@pytest.fixture(scope="module")
def address(recorded: TradeLake) -> Iterator[str]:
    with serving(create_app(recorded.settings)) as found:
        yield found


@pytest.fixture(scope="module")
def link(address: str, key: str) -> str:
    """The page, with a key that may ask as often as it likes."""
    return f"{address}/#key={key}"


# Not of the session: while playwright is open, no other test of the process can run a loop.
@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with chromium(chromium_path) as launched:
        yield launched
