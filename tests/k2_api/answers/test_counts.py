"""How much a question asks for is said exactly in rows and about right in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.k2_api.lake_of_everything import lake_of_everything
from tests.keyed import keyed

ROUTES = (
    *("trades", "quotes", "ohlcv/1m", "ohlcv/7m", "gaps", "condition", "reconciliation"),
    *("rejected", "instruments"),
)
QUESTIONS = (
    "",
    "exchange=kraken",
    "start=2024-08-08T00:05:00Z",
    "start=2024-08-08&end=2024-08-08T00:10:00Z",
    "start=2024-08-09",
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    lake = lake_of_everything(tmp_path_factory.mktemp("counted"))
    with keyed(lake.settings, raise_server_exceptions=False) as client:
        yield client


def get(client: TestClient, url: str) -> dict[str, Any]:
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("route", ROUTES)
def test_a_count_is_the_number_of_rows_of_all_pages(client: TestClient, route: str) -> None:
    for question in QUESTIONS[:2] if route == "instruments" else QUESTIONS:
        page = get(client, f"/v1/{route}?{question}&limit=10000")
        counted = get(client, f"/v1/{route}/count?{question}&limit=1")
        assert counted["data"]["rows"] == len(page["data"]), question
        for told in ("table", "snapshot_id", "start", "end"):
            assert counted["meta"][told] == page["meta"].get(told)


def test_bytes_are_about_those_of_the_answer(client: TestClient) -> None:
    question = "start=2024-08-08&symbol=BTC-USDT"
    told = get(client, f"/v1/trades/count?{question}")["data"]["bytes"]
    assert list(told) == ["json", "csv", "parquet", "arrow"]
    for name, size in told.items():
        url = f"/v1/trades?{question}&format={name.replace('json', 'ndjson')}"
        sent = len(client.get(url, headers={"Accept-Encoding": "identity"}).content)
        assert size == pytest.approx(sent, rel=0.05)


def test_fields_count_in_bytes_and_nothing_takes_nothing_of_text(client: TestClient) -> None:
    whole = get(client, "/v1/trades/count?start=2024-08-08")["data"]
    some = get(client, "/v1/trades/count?start=2024-08-08&fields=price")["data"]
    assert some["rows"] == whole["rows"]
    assert some["bytes"]["csv"] < whole["bytes"]["csv"] / 10
    assert get(client, "/v1/trades/count?start=2030-01-01")["data"]["bytes"]["json"] == 0


def test_who_counts_what_there_is_not_is_told_so(client: TestClient) -> None:
    answer = client.get("/v1/trades/count?symbol=DOGEUSDT")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_symbol")
    assert client.get("/v1/ohlcv/2x/count").status_code in (404, 422)
