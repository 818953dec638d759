from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from k2_feeds.listings import LISTINGS
from k2_feeds.simulator.dialects.listings import listing
from k2_feeds.simulator.synthetic import PAIRS
from k2_lake.instruments import refresh
from k2_market.listing import INSTRUMENT
from tests.keyed import keyed
from tests.lakes import open_lake

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Two exchanges; a day later bitcoin's tick on Kraken is finer and DOGE-USD is gone."""
    lake = open_lake(tmp_path_factory.mktemp("listed"))
    for exchange in ("kraken", "bitstamp"):
        terms = LISTINGS[exchange].read(listing(exchange, PAIRS).encode()).instruments
        refresh(lake, exchange, terms, AT)
        if exchange == "kraken":
            later = [
                replace(t, tick_size=Decimal("0.01")) if t.symbol == "BTC-USD" else t
                for t in terms
                if t.symbol != "DOGE-USD"
            ]
            refresh(lake, exchange, later, AT + DAY)
    with keyed(lake.settings, raise_server_exceptions=False) as client:
        yield client


def get(client: TestClient, **parameters: object) -> dict[str, Any]:
    response = client.get("/v1/instruments", params={k: str(v) for k, v in parameters.items()})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize("name", ["BTC-USD", "XXBTZUSD", "xbtusd", "XBT/USD", "btcusd", "BTC/USD"])
def test_an_instrument_is_found_by_all_its_names(client: TestClient, name: str) -> None:
    [found] = get(client, exchange="kraken", symbol=name)["data"]
    assert list(found) == INSTRUMENT.columns
    assert found["symbol"] == "BTC-USD"
    assert found["names"] == ["BTC/USD", "XBT/USD", "XBTUSD", "XXBTZUSD"]
    assert found["tick_size"] == "0.010000000000000000"
    assert (found["contract_size"], found["valid_to"]) == (None, None)
    assert found["valid_from"] == "2026-01-02T12:00:00.000000Z"


def test_terms_are_those_of_the_instant_that_was_asked_for(client: TestClient) -> None:
    def tick(at: str) -> list[str]:
        found = get(client, exchange="kraken", symbol="BTC-USD", at=at)
        return [row["tick_size"] for row in found["data"]]

    assert tick("2026-01-01T11:59:59Z") == []
    assert tick("2026-01-01T12:00:00Z") == ["0.100000000000000000"]
    assert tick("2026-01-02T11:59:59.999999Z") == ["0.100000000000000000"]
    assert tick("2026-01-02T12:00:00Z") == ["0.010000000000000000"]
    gone = get(client, exchange="kraken", symbol="XDGUSD")
    assert gone["data"] == []
    before = get(client, exchange="kraken", symbol="XDGUSD", at="2026-01-02")
    assert [row["symbol"] for row in before["data"]] == ["DOGE-USD"]
    assert before["meta"]["at"] == "2026-01-02T00:00:00Z"


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_follow_one_another_and_name_each_row_once(client: TestClient, limit: int) -> None:
    rows, page = [], get(client, limit=limit)
    while True:
        rows += page["data"]
        if not page["meta"]["has_more"]:
            break
        page = get(client, limit=limit, cursor=page["meta"]["next_cursor"])
    assert [(r["exchange"], r["symbol"]) for r in rows] == sorted(
        [("bitstamp", s) for s in PAIRS] + [("kraken", s) for s in PAIRS if s != "DOGE-USD"]
    )


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("exchange=mtgox", 404, "unknown_exchange"),
        ("at=yesterday", 422, "invalid_parameter"),
        ("cursor=abc", 422, "invalid_parameter"),
        ("start=2026-01-01", 422, "invalid_parameter"),
    ],
)
def test_what_cannot_be_understood_is_a_problem(
    client: TestClient, query: str, status: int, code: str
) -> None:
    response = client.get(f"/v1/instruments?{query}")
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_symbol_that_nobody_lists_gives_no_rows_and_nothing_is_injected(
    client: TestClient,
) -> None:
    for name in ("NO-SUCH", "' or 1=1 --", "{rows}", "$at"):
        assert get(client, symbol=name)["data"] == []


def test_before_anybody_asked_there_is_an_empty_page(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    assert lake.catalog
    with keyed(lake.settings) as client:
        found = get(client)
    assert found["data"] == []
    assert found["meta"]["snapshot_id"] is None


def test_instruments_as_of_a_snapshot_are_those_that_were_known_then(client: TestClient) -> None:
    now = get(client, exchange="kraken", limit=2)
    pinned = get(client, exchange="kraken", limit=2, as_of=now["meta"]["snapshot_id"])
    assert (pinned["data"], pinned["meta"]["snapshot_id"]) == (
        now["data"],
        now["meta"]["snapshot_id"],
    )
    rest = get(
        client,
        exchange="kraken",
        as_of=now["meta"]["snapshot_id"],
        cursor=pinned["meta"]["next_cursor"],
    )
    assert rest["meta"]["snapshot_id"] == now["meta"]["snapshot_id"]
    assert len(pinned["data"] + rest["data"]) == len(get(client, exchange="kraken")["data"])
    assert get(client, as_of="2020-01-01")["data"] == []
