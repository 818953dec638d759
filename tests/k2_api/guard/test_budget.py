"""What one query may cost, what it may reach, and that others go on meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import duckdb
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from k2_api.app import create_app
from k2_api.guard.budget import ASKING, Budget
from k2_api.guard.guard import Guard
from k2_api.guard.refusals import Overloaded, TimedOut
from k2_api.guard.settings import GuardSettings
from k2_api.reading.reader import LakeReader
from k2_lake.scan import Files
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import TooLarge, UsageError
from k2_market.records import TRADE
from tests.k2_api.lake_of_trades import TradeLake, many
from tests.keyed import fast_key, keyed

# A thousand billion rows: minutes of work, whatever the machine.
MINUTES = "select count(*) from range(10000000) a, range(100000) b where a.range * b.range % 7 = 3"
GREEDY = "select list(a.range::varchar || repeat('x', 1000)) from range(3000000) a"
NOTHING = Files(TRADE.schema, ())


def reader_of(lake: TradeLake, **settings: object) -> LakeReader:
    return LakeReader(lake.settings, Guard(lake.settings, GuardSettings(**settings)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    """One in a folder whose name is hard to quote and full of patterns."""
    lake = TradeLake(tmp_path_factory.mktemp("it's [x]* y{1}"))
    lake.add(many(20))
    return lake


@pytest.fixture(scope="module")
def reader(lake: TradeLake) -> Iterator[LakeReader]:
    reader = reader_of(lake, timeout_s=0.3, memory="200MB")
    yield reader
    reader.close()


def test_a_query_of_minutes_is_interrupted_and_the_next_one_is_answered(
    reader: LakeReader,
) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut, match=r"more than 0\.3 s"):
        reader.run(MINUTES, NOTHING, {}, None)
    assert time.monotonic() - began < 20
    assert reader.run("select 1", NOTHING, {}, None) == [(1,)]


def test_a_query_that_needs_too_much_memory_is_told_to_ask_for_less(lake: TradeLake) -> None:
    greedy = reader_of(lake, memory="50MB")
    with pytest.raises(TooLarge, match="50MB of memory"):
        greedy.run(GREEDY, NOTHING, {}, None)
    assert greedy.run("select 1", NOTHING, {}, None) == [(1,)]
    greedy.close()


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from read_parquet('{warehouse}/../catalog.db')",
        "select * from read_text('{warehouse}/../../../../etc/passwd')",
        "select * from glob('/etc/*')",
        "copy (select 1) to '/tmp/k2-out.csv'",
        "attach '/tmp/k2-x.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "select * from read_csv('https://example.com/x.csv')",
        "from NOTHING",
    ],
)
def test_the_readers_database_reaches_the_lakes_files_and_nothing_else(
    reader: LakeReader, lake: TradeLake, sql: str
) -> None:
    folder = str(lake.settings.home / "warehouse").replace("'", "''")
    text = sql.replace("{warehouse}", folder).replace("{", "{{").replace("}", "}}")
    with pytest.raises(duckdb.Error, match=r"Permission|Cannot|does not exist|lock") as refused:
        reader.run(text, NOTHING, {}, None)
    assert "root:" not in str(refused.value)
    assert not Path("/tmp/k2-out.csv").exists()


def test_a_warehouse_whose_name_is_full_of_patterns_is_read(
    lake: TradeLake, reader: LakeReader
) -> None:
    with keyed(lake.settings) as client:
        assert len(client.get("/v1/trades").json()["data"]) == 20
    assert reader.table(TRADES_TABLE) is not None


def test_a_key_never_gets_all_turns() -> None:
    budget = Budget(timeout_s=0.2, at_once=4)
    database = duckdb.connect(":memory:")
    held, release = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with budget.spent_on(database.cursor()):
            held.wait(10)
            release.wait(10)

    def ask() -> int:
        with budget.spent_on(database.cursor()):
            return 1

    def as_key(key: str) -> None:
        ASKING.set(key)

    greedy, modest = copy_context(), copy_context()
    greedy.run(as_key, "greedy")
    modest.run(as_key, "modest")
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(greedy.copy().run, hold) for _ in range(2)]
        held.wait(10)
        with pytest.raises(Overloaded, match="no turn came"):
            greedy.copy().run(ask)
        assert modest.run(ask) == 1
        release.set()
        for one in running:
            one.result(10)
    assert greedy.run(ask) == 1


def slow_app(lake: TradeLake) -> FastAPI:
    """The API with a route whose query would take minutes."""
    app = create_app(lake.settings)

    @app.get("/v1/slow")
    def slow() -> None:
        app.state.reader.run(MINUTES, NOTHING, {}, None)

    return app


def test_a_timeout_is_a_problem_and_keeps_nobody_else_waiting(
    lake: TradeLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_API_TIMEOUT_S", "2")
    headers = {"X-API-Key": fast_key(lake.settings)}
    with TestClient(slow_app(lake)) as client, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.get, "/v1/slow", headers=headers) for _ in range(2)]
        others = {"X-API-Key": fast_key(lake.settings)}
        while not all(one.done() for one in asked):
            answer = client.get("/v1/trades?limit=1", headers=others)
            assert answer.status_code == 200
        for one in asked:
            refused = one.result()
            assert (refused.status_code, refused.json()["code"]) == (503, "timeout")
            assert refused.headers["retry-after"] == "5"
            assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("K2_API_TIMEOUT_S", "soon"),
        ("K2_API_TIMEOUT_S", "-1"),
        ("K2_API_TIMEOUT_S", "nan"),
        ("K2_API_MEMORY", "lots"),
        ("K2_API_RATE", "100"),
        ("K2_API_CORS_ORIGINS", "*"),
    ],
)
def test_a_setting_that_is_none_is_said_with_its_name(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        GuardSettings.from_environment({variable: value})
