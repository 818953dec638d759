"""What fails again and again is left alone, tried again, and what depends on it is switched off."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from k2_api.guard.breaker import FAILURES, Breaker
from k2_api.guard.dependencies import Breakers
from k2_api.guard.guard import Guard
from k2_api.guard.levels import OFF_FROM, Level, Levels, features
from k2_api.guard.places import EXPORTS, Places
from k2_api.guard.refusals import BreakerOpen, Overloaded
from k2_market.errors import BrokerUnavailable, FileBroken, LakeUnavailable
from tests.k2_api.lake_of_trades import TradeLake
from tests.keyed import keyed
from tests.services import wait_until


def fail(breaker: Breaker, error: Exception, times: int = FAILURES) -> None:
    for _ in range(times):
        with pytest.raises(type(error)), breaker.guarding():
            raise error


def breakers(rest_s: float = 60.0) -> list[Breaker]:
    return [Breaker(n, lambda e: isinstance(e, LakeUnavailable), rest_s) for n in ("a", "b", "c")]


def test_a_breaker_opens_after_failures_in_a_row_and_asks_no_more() -> None:
    breaker = breakers()[0]
    fail(breaker, LakeUnavailable("gone"), FAILURES - 1)
    with breaker.guarding():
        pass
    fail(breaker, LakeUnavailable("gone"), FAILURES)
    assert breaker.state == "open"
    asked = []
    with pytest.raises(BreakerOpen, match="left alone") as refused, breaker.guarding():
        asked.append(1)
    assert asked == []
    assert 0 < int(refused.value.headers["Retry-After"]) <= 60


def test_an_open_breaker_is_tried_after_its_rest_and_recovers_by_itself() -> None:
    breaker = breakers(rest_s=0.05)[0]
    fail(breaker, LakeUnavailable("gone"))
    wait_until(lambda: breaker.open_for_s == 0, "the rest to be over")
    time.sleep(0.01)
    fail(breaker, LakeUnavailable("gone"), 1)
    assert breaker.state == "open"
    wait_until(lambda: breaker.open_for_s == 0, "the rest to be over")
    time.sleep(0.01)
    with breaker.guarding():
        pass
    assert breaker.state == "closed"


def test_what_is_not_the_dependencys_fault_opens_nothing(tmp_path: Path) -> None:
    found = Breakers.of(f"file://{tmp_path}")
    for error in (FileBroken("one file"), LakeUnavailable("one file"), ValueError("a bug")):
        fail(found.store, error, 2 * FAILURES)
    assert found.states() == {"catalog": "closed", "store": "closed", "kafka": "closed"}
    away = Breakers.of(f"file://{tmp_path}/unmounted")
    fail(away.store, LakeUnavailable("all of it"))
    fail(away.kafka, BrokerUnavailable("silent"))
    fail(away.catalog, LakeUnavailable("silent"))
    assert away.states() == {"catalog": "open", "store": "open", "kafka": "open"}


@pytest.mark.parametrize(
    ("failed", "load", "level"),
    [
        ("", 0.0, Level.NORMAL),
        ("", 0.49, Level.NORMAL),
        ("", 0.5, Level.SOFT),
        ("", 0.7, Level.GRACEFUL),
        ("", 0.85, Level.AGGRESSIVE),
        ("", 1.0, Level.AGGRESSIVE),
        ("kafka", 0.0, Level.GRACEFUL),
        ("kafka", 0.9, Level.AGGRESSIVE),
        ("store", 0.0, Level.AGGRESSIVE),
        ("catalog", 0.0, Level.CIRCUIT_BREAK),
        ("catalog store kafka", 1.0, Level.CIRCUIT_BREAK),
    ],
)
def test_the_level_follows_from_what_fails_and_from_the_load(
    failed: str, load: float, level: Level
) -> None:
    found = dict(zip(("catalog", "store", "kafka"), breakers(), strict=True))
    levels = Levels(found["catalog"], found["store"], found["kafka"], lambda: load)
    for name in failed.split():
        fail(found[name], LakeUnavailable("gone"))
    assert levels.level() == level
    for feature in OFF_FROM:
        assert levels.allows(feature) == (feature in features(level))
    assert levels.allows("state")


def test_features_go_in_the_documented_order() -> None:
    assert [sorted(features(level)) for level in Level] == [
        ["batch", "export", "live", "read", "tail"],
        ["batch", "export", "live", "read"],
        ["batch", "export", "read"],
        ["read"],
        [],
    ]


def test_places_are_bounded_for_all_and_for_each_key_and_come_back() -> None:
    places = Places(places=3, of_a_key=2)
    with places.place("a"), places.place("a"):
        with pytest.raises(Overloaded, match="of your key at once"), places.place("a"):
            pass
        with places.place("b"):
            with pytest.raises(Overloaded, match="works on 3 requests at once"), places.place("c"):
                pass
            assert 0 <= places.load() <= 1
    with places.place("a"), places.place("b"), places.place("c"):
        pass


def test_an_export_without_a_place_is_503_and_pages_go_on(
    client: TestClient,
) -> None:
    guard = guard_of(client)
    url = "/v1/trades?start=2024-08-08&format=csv"
    with ExitStack() as taken:
        for n in range(EXPORTS):
            taken.enter_context(guard.exports.place(f"key {n}"))
        assert code(client, url) == (503, "overloaded")
        assert code(client, "/v1/trades") == (200, "")
    assert len(client.get(url).text.splitlines()) == 21
    assert guard.exports.taken == 0


def test_the_load_is_an_average_that_falls_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("k2_api.guard.places.time.monotonic", lambda: now[0])
    places = Places(places=4, of_a_key=4)
    with places.place("a"), places.place("a"), places.place("a"):
        assert places.load() == 0
        now[0] += 2
        assert 0.45 < places.load() < 0.5
        now[0] += 20
        assert 0.74 < places.load() <= 0.75
    now[0] += 20
    assert places.load() < 0.001


@pytest.fixture
def client(growing: TradeLake) -> Any:
    with keyed(growing.settings, raise_server_exceptions=False) as client:
        yield client


def guard_of(client: TestClient) -> Guard:
    guard: Guard = client.app.state.guard  # type: ignore[attr-defined]
    return guard


def code(client: TestClient, url: str) -> tuple[int, str]:
    answer = client.get(url)
    return answer.status_code, answer.json().get("code", "")


def rename_table(lake: TradeLake, old: str, new: str) -> None:
    """A catalog without its table answers nobody, as one that is down."""
    with lake.lake.catalog.engine.begin() as connection:
        connection.execute(text(f"alter table {old} rename to {new}"))


def test_with_the_catalog_gone_all_but_health_is_off_until_it_is_back(
    client: TestClient, growing: TradeLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = guard_of(client).breakers.catalog
    assert code(client, "/v1/trades") == (200, "")
    rename_table(growing, "iceberg_tables", "away")
    codes = [code(client, "/v1/symbols") for _ in range(FAILURES + 1)]
    assert codes == [(503, "lake_unavailable")] * FAILURES + [(503, "breaker_open")]
    refused = client.get("/v1/trades")
    assert refused.headers["k2-level"] == "circuit_break"
    assert 0 < int(refused.headers["retry-after"]) <= 10
    health = client.get("/health").json()
    assert (health["status"], health["level"]) == ("degraded", "circuit_break")
    assert health["breakers"]["catalog"] == "open"
    assert health["switched_off"] == ["batch", "export", "live", "read", "tail"]
    assert code(client, "/health/live") == (200, "")
    assert code(client, "/health/ready")[0] == 503
    rename_table(growing, "away", "iceberg_tables")
    monkeypatch.setattr(breaker, "_rest_s", 0)
    monkeypatch.setattr(breaker._circuit, "_reset_timeout", 0)
    assert code(client, "/v1/trades") == (200, "")
    assert "k2-level" not in client.get("/v1/trades").headers
    assert client.get("/health").json()["level"] == "normal"


def test_an_error_that_names_a_place_of_the_server_does_not_tell_it(
    client: TestClient, growing: TradeLake, caplog: pytest.LogCaptureFixture
) -> None:
    home = str(growing.settings.home)
    where = f"{home}/warehouse/gold/trades/metadata/x.json"
    wrong: tuple[Callable[[], None], ...] = (
        lambda: _raise(LakeUnavailable(f"gold.trades: the metadata file file://{where} is gone.")),
        lambda: _raise(FileBroken(f"the data file {where} is damaged (ValueError: 5 bytes).")),
        lambda: _raise(RuntimeError(f"cannot open {where}")),
        lambda: _raise(LakeUnavailable("S3: http://user:secret@10.0.0.7:9000/k2 is silent")),
    )
    for n, fails in enumerate(wrong):
        client.app.add_api_route(f"/v1/wrong{n}", fails)  # type: ignore[attr-defined]
        answer = client.get(f"/v1/wrong{n}")
        assert answer.status_code in (500, 503)
        assert answer.headers["x-content-type-options"] == "nosniff"
        for secret in (home, str(Path(home).name), "10.0.0.7", "secret", "metadata/"):
            assert secret not in answer.text
    told = "".join(r.getMessage() for r in caplog.records)
    assert home not in told
    assert "x.json" in told


def _raise(error: Exception) -> None:
    raise error
