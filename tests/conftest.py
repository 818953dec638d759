"""What all tests share: the needs of a marked test, the recorded data, and the servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka_server import kafka_cluster, kafka_server, kafka_without_topics
from tests.needs import NEEDS, require
from tests.registry_server import registry
from tests.s3proxy_server import s3proxy_server
from tests.services import postgres_database, postgres_server, s3_server
from tests.spark import spark_settings
from tests.spark_cluster import spark_cluster
from tests.storage import best_store, elsewhere, everywhere, parametrize, skip_elsewhere, storage

__all__ = [
    "best_store",
    "chromium_path",
    "elsewhere",
    "everywhere",
    "kafka_cluster",
    "kafka_server",
    "kafka_without_topics",
    "postgres_database",
    "postgres_server",
    "registry",
    "s3_server",
    "s3proxy_server",
    "shared_data",
    "spark_cluster",
    "spark_settings",
    "storage",
]


# What takes long comes first, so that no worker has it left when the others have done.
LONG = (
    "tests/ui",
    "tests/k2_cli/test_load.py",
    "tests/k2_cli/test_once.py",
    "tests/k2_lake/test_incremental.py",
    "tests/chaos",
    "tests/k2_cli",
    "tests/k2_lake",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: next(
            (n for n, at in enumerate(LONG) if item.nodeid.startswith(at)), len(LONG)
        )
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers():
        if marker.name in NEEDS:
            require(marker.name)
    skip_elsewhere(item)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize(metafunc)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded market data; tests read it and copy nothing out of it."""
    return Path(require("data"))


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """What to hand to playwright as ``executable_path``."""
    return str(require("browser"))
