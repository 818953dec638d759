"""Where the lakes of tests are, when a test does not say it itself: files, or servers.

A test that is marked ``any_storage`` runs twice: with a catalog in SQLite and a folder, and with
PostgreSQL and an S3-compatible store, the real one where its artifacts can be had. With
``K2_TEST_STORAGE=postgres,s3`` (or one of the two) the lakes of all tests are there, and each runs
once. A test that looks at files of the home itself is marked ``local_storage``: it is skipped then.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.needs import s3proxy_artifacts
from tests.services import S3Server, create_database

SERVERS = "postgres-s3"
STORAGES = [
    "files",
    pytest.param(SERVERS, marks=[pytest.mark.postgres, pytest.mark.s3]),
]
WANTED = frozenset(filter(None, os.environ.get("K2_TEST_STORAGE", "").split(",")))

_opened: list[Elsewhere] = []


@dataclass(frozen=True)
class Elsewhere:
    """Servers where every home has a database and a prefix of its own, made when asked for."""

    postgres: str | None
    store: S3Server | None
    bucket: str = ""

    @cache  # noqa: B019 (it lives as long as the session)
    def of(self, home: Path) -> Mapping[str, str]:
        """The environment of a deployment whose home this is."""
        name = "k2_" + hashlib.sha256(str(home).encode()).hexdigest()[:16]
        found = {} if self.postgres is None else {"K2_CATALOG_URI": self._database(name)}
        if self.store is not None:
            found |= {**self.store.environment, "K2_WAREHOUSE": f"s3://{self.bucket}/{name}"}
        return found

    def _database(self, name: str) -> str:
        assert self.postgres is not None
        return create_database(self.postgres, name)


def environment(home: Path) -> dict[str, str]:
    """What a process must be told to find the lake of that home; nothing where it is in files."""
    return dict(_opened[-1].of(home.absolute())) if _opened else {}


@pytest.fixture(scope="session")
def best_store(request: pytest.FixtureRequest) -> S3Server:
    """A real S3-compatible server where it can be had, else moto's."""
    real = s3proxy_artifacts() is not None and os.environ.get("K2_TEST_S3") != "moto"
    found: S3Server = request.getfixturevalue("s3proxy_server" if real else "s3_server")
    return found


@pytest.fixture(scope="session")
def elsewhere(request: pytest.FixtureRequest) -> Elsewhere:
    """The servers that are wanted, or both."""
    wanted = WANTED or {"postgres", "s3"}
    store: S3Server | None = request.getfixturevalue("best_store") if "s3" in wanted else None
    uri = request.getfixturevalue("postgres_server") if "postgres" in wanted else None
    return Elsewhere(uri, store, "" if store is None else store.new_bucket())


@pytest.fixture(autouse=True)
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the lakes of this test are: ``files`` or ``postgres-s3``."""
    where = SERVERS if WANTED else getattr(request, "param", "files")
    if WANTED or where == "files":
        yield where
        return
    with _redirected(request.getfixturevalue("elsewhere")):
        yield where


@pytest.fixture(scope="session", autouse=True)
def everywhere(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where K2_TEST_STORAGE asks for it, the lakes of fixtures of any scope are on the servers."""
    if not WANTED:
        yield
        return
    with _redirected(request.getfixturevalue("elsewhere")):
        yield


def skip_elsewhere(item: pytest.Item) -> None:
    """Skip a test that looks at files of the home where the lakes are on the servers."""
    if WANTED and item.get_closest_marker("local_storage"):
        pytest.skip("it looks at files of the home, and the lake is elsewhere")


@contextmanager
def _redirected(servers: Elsewhere) -> Iterator[None]:
    _opened.append(servers)
    with pytest.MonkeyPatch.context() as patch:
        _redirect(patch, servers)
        yield
    _opened.pop()


def _redirect(patch: pytest.MonkeyPatch, servers: Elsewhere) -> None:
    """Every home that is opened, by whatever way, has its lake on the servers."""
    # Imported here, for most tests need no lake.
    from k2_lake.catalog import LakeSettings

    usual = LakeSettings.from_environment.__func__  # type: ignore[attr-defined]

    def from_environment(
        cls: type[LakeSettings], env: Mapping[str, str], home: Path | None = None
    ) -> LakeSettings:
        if "K2_CATALOG_URI" not in env and "K2_WAREHOUSE" not in env:
            env = {**env, **servers.of((home or Path(env.get("K2_HOME", ".k2"))).absolute())}
        found: LakeSettings = usual(cls, env, home)
        return found

    patch.setattr(LakeSettings, "from_environment", classmethod(from_environment))


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Both storages for a test that is marked so."""
    if metafunc.definition.get_closest_marker("any_storage") and not WANTED:
        metafunc.parametrize("storage", STORAGES, indirect=True)
