"""Who comes in, and what is turned away before a route sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from k2_api.app import create_app
from k2_api.guard.keys import create_key, replace_key, revoke_key
from k2_api.guard.refusals import AT_LEISURE_S, LATER_S
from k2_api.guard.sizes import MAX_BODY
from tests.k2_api.lake_of_trades import TradeLake, many

PUBLIC = ["/docs", "/openapi.json", "/health/live", "/health/ready"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    lake = TradeLake(tmp_path_factory.mktemp("guarded"))
    lake.add(many(20))
    return lake


@pytest.fixture(scope="module")
def stranger(lake: TradeLake) -> Iterator[TestClient]:
    """A client without a key."""
    with TestClient(create_app(lake.settings), raise_server_exceptions=False) as client:
        yield client


def key_of(lake: TradeLake, name: str, *scopes: str, rate: str = "100000/minute") -> dict[str, str]:
    return {"X-API-Key": replace_key(lake.settings.home, name, scopes or ("read",), rate)}


def problem(response: Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert set(body) == {"type", "title", "status", "detail", "code", "instance"}
    return body


def test_every_path_needs_a_key_but_those_that_are_public(stranger: TestClient) -> None:
    paths = stranger.get("/openapi.json").json()["paths"]
    closed = [p for p in paths if p not in PUBLIC]
    assert "/v1/trades" in closed
    assert "/health" in closed
    for path in closed:
        for method in paths[path]:
            asked = stranger.request(method, path.replace("{", "").replace("}", ""))
            assert "k2 keys create" in problem(asked, 401, "missing_key")["detail"]
            assert asked.headers["www-authenticate"].startswith("Bearer")
    for path in PUBLIC:
        assert stranger.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/v1/trades", "/v1", "/v1/", "/v1/none", "/%76%31/trades"])
def test_no_spelling_of_a_path_leads_in_without_a_key(stranger: TestClient, path: str) -> None:
    problem(stranger.get(path), 401, "missing_key")


def test_a_key_comes_as_its_own_header_or_as_a_bearer(
    lake: TradeLake, stranger: TestClient
) -> None:
    key = key_of(lake, "both")["X-API-Key"]
    for headers in (
        {"X-API-Key": key},
        {"Authorization": f"Bearer {key}"},
        {"authorization": f"bearer {key}"},
    ):
        assert stranger.get("/v1/trades", headers=headers).status_code == 200
    for headers in (
        {"X-API-Key": key + "x"},
        {"X-API-Key": "demo"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer k2_"},
        {"X-API-Key": "k2_é".encode("latin-1").decode("latin-1")},
    ):
        encoded = {k: v.encode("latin-1") for k, v in headers.items()}
        problem(stranger.get("/v1/trades", headers=encoded), 401, "invalid_key")
    problem(stranger.get("/v1/trades", headers={"Authorization": "Basic eDp5"}), 401, "missing_key")
    problem(stranger.get(f"/v1/trades?key={key}"), 401, "missing_key")


def test_a_running_api_follows_keys_that_are_made_and_revoked(
    lake: TradeLake, stranger: TestClient
) -> None:
    key = create_key(lake.settings.home, "short")
    assert stranger.get("/v1/trades", headers={"X-API-Key": key}).status_code == 200
    revoke_key(lake.settings.home, "short")
    problem(stranger.get("/v1/trades", headers={"X-API-Key": key}), 401, "invalid_key")


def test_a_scope_that_the_key_lacks_is_403_and_says_which(
    lake: TradeLake, stranger: TestClient
) -> None:
    reader, watcher = key_of(lake, "reader", "read"), key_of(lake, "watcher", "state")
    said = problem(stranger.get("/health", headers=reader), 403, "scope_missing")["detail"]
    assert "--scope state" in said
    problem(stranger.get("/v1/trades", headers=watcher), 403, "scope_missing")
    assert stranger.get("/health", headers=watcher).json()["status"] == "ok"


def test_a_rate_is_kept_for_each_key_and_told_in_headers(
    lake: TradeLake, stranger: TestClient
) -> None:
    slow, other = key_of(lake, "slow", rate="3/minute"), key_of(lake, "other")
    for left in (2, 1, 0):
        headers = stranger.get("/v1/symbols", headers=slow).headers
        assert headers["ratelimit-limit"] == "3"
        assert headers["ratelimit-remaining"] == str(left)
        assert headers["ratelimit-policy"] == "3;w=60"
        assert 0 < int(headers["ratelimit-reset"]) <= 60
    refused = stranger.get("/v1/symbols", headers=slow)
    assert "slow" in problem(refused, 429, "rate_limited")["detail"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit-remaining"] == "0"
    assert stranger.get("/v1/symbols", headers=other).status_code == 200


def test_a_refusal_for_too_much_or_a_broken_part_comes_at_leisure(
    lake: TradeLake, stranger: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("k2_api.answers.problems.sleep", wait)
    levels = stranger.app.state.guard.levels  # type: ignore[attr-defined]
    key = key_of(lake, "hasty", "read", "live", rate="1/minute")
    monkeypatch.setattr(levels, "_load", lambda: 0.75)
    problem(stranger.get("/v1/live?channels=trades", headers=key), 503, "breaker_open")
    problem(stranger.get("/v1/trades", headers=key), 429, "rate_limited")
    problem(stranger.get("/v1/trades"), 401, "missing_key")
    assert waited == [LATER_S, AT_LEISURE_S, 0.0]


def test_the_default_rates_are_100_a_minute_and_20_for_batches(
    lake: TradeLake, stranger: TestClient
) -> None:
    key = {"X-API-Key": create_key(lake.settings.home, "default")}
    assert stranger.get("/v1/symbols", headers=key).headers["ratelimit-policy"] == "100;w=60"
    batch = stranger.post("/v1/ohlcv/batch", headers=key, json={"requests": []})
    assert batch.headers["ratelimit-policy"] == "20;w=60"


def test_rates_are_set_by_the_environment(lake: TradeLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2_API_RATE", "2/second")
    monkeypatch.setenv("K2_API_BATCH_RATE", "1/hour")
    key = {"X-API-Key": create_key(lake.settings.home, "environment")}
    with TestClient(create_app(lake.settings)) as client:
        assert client.get("/v1/symbols", headers=key).headers["ratelimit-policy"] == "2;w=1"
        assert client.post("/v1/ohlcv/batch", headers=key).headers["ratelimit-policy"] == "1;w=3600"
        problem(client.post("/v1/ohlcv/batch", headers=key), 429, "rate_limited")


def test_failed_attempts_are_limited_and_a_good_key_is_not_held_responsible(
    lake: TradeLake,
) -> None:
    key = key_of(lake, "neighbour")
    with TestClient(create_app(lake.settings)) as client:
        codes = [
            client.get("/v1/symbols", headers={"X-API-Key": f"k2_{n}"}).status_code
            for n in range(62)
        ]
        assert codes == [401] * 60 + [429] * 2
        assert client.get("/v1/symbols", headers=key).status_code == 200


def test_an_address_of_more_than_8_kib_is_414(lake: TradeLake, stranger: TestClient) -> None:
    key = key_of(lake, "long")
    problem(stranger.get("/v1/trades?symbol=" + "B" * 8192, headers=key), 414, "uri_too_long")
    problem(stranger.get("/v1/" + "B" * 9000, headers=key), 414, "uri_too_long")


def test_a_body_of_more_than_64_kib_is_413_also_when_its_size_is_not_told(
    lake: TradeLake, stranger: TestClient
) -> None:
    key = key_of(lake, "heavy", "read", "batch")

    def parts() -> Iterator[bytes]:
        yield from (b" " * 1024 for _ in range(MAX_BODY // 1024 + 1))

    for content in (b" " * (MAX_BODY + 1), parts()):
        asked = stranger.post("/v1/ohlcv/batch", headers=key, content=content)
        assert "65,536" in problem(asked, 413, "too_large")["detail"]


def test_answers_are_safe_in_a_browser(lake: TradeLake, stranger: TestClient) -> None:
    key = key_of(lake, "browser")
    for path, headers in (("/v1/symbols", key), ("/v1/symbols", {}), ("/v2", {}), ("/docs", {})):
        found = stranger.get(path, headers=headers).headers
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in found["content-security-policy"]
        assert "access-control-allow-origin" not in found
    assert stranger.get("/v1/symbols", headers=key).headers["cache-control"] == "private, no-cache"


def test_other_origins_are_shut_out_unless_they_are_named(
    lake: TradeLake, stranger: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = "https://research.example.com"
    asks = {"Origin": here, "Access-Control-Request-Method": "GET"}
    asks["Access-Control-Request-Headers"] = "X-API-Key"
    assert stranger.options("/v1/symbols", headers=asks).status_code == 401
    monkeypatch.setenv("K2_API_CORS_ORIGINS", f"{here}, https://other.example.com")
    with TestClient(create_app(lake.settings)) as client:
        allowed = client.options("/v1/symbols", headers=asks)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, here)
        refused = client.get("/v1/symbols", headers={"Origin": here})
        assert refused.headers["access-control-allow-origin"] == here
        problem(refused, 401, "missing_key")
        elsewhere = client.get("/v1/symbols", headers={"Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in elsewhere.headers


def test_the_document_tells_how_to_send_a_key_and_how_one_is_turned_away(
    stranger: TestClient,
) -> None:
    document = stranger.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"ApiKey", "Bearer"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in PUBLIC:
                assert "security" not in operation
                continue
            assert operation["security"] == [{"ApiKey": []}, {"Bearer": []}]
            assert {"401", "403", "414", "429", "503"} <= set(operation["responses"])
            assert "Retry-After" in operation["responses"]["429"]["headers"]
