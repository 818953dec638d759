"""Every data route: its rows as the table has them, narrowed, in either order, page by page."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_api.reading.candle_set import CANDLE_ROW
from k2_lake.tables import TABLES
from tests.k2_api.lake_of_everything import lake_of_everything
from tests.keyed import keyed

ROUTES = {
    "/v1/trades": ("gold.trades", 130),
    "/v1/quotes": ("gold.quotes", 40),
    "/v1/ohlcv/1m": ("gold.ohlcv_1m", None),
    "/v1/gaps": ("gold.gaps", 9),
    "/v1/condition": ("gold.day_condition", 4),
    "/v1/reconciliation": ("gold.reconciliation", 6),
    "/v1/rejected": ("silver.rejected", 5),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    lake = lake_of_everything(tmp_path_factory.mktemp("everything"))
    with keyed(lake.settings, raise_server_exceptions=False) as client:
        yield client


def get(client: TestClient, url: str, **parameters: object) -> dict[str, Any]:
    answer = client.get(url, params={k: str(v) for k, v in parameters.items()} or None)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def walked(client: TestClient, url: str, limit: int, **more: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: dict[str, object] = {}
    while True:
        page = get(client, url, limit=limit, **more, **cursor)
        rows += page["data"]
        if not page["meta"]["has_more"]:
            return rows
        assert len(page["data"]) == limit
        cursor = {"cursor": page["meta"]["next_cursor"]}


@pytest.mark.parametrize("url", ROUTES)
def test_a_route_has_every_row_with_every_field(client: TestClient, url: str) -> None:
    table, rows = ROUTES[url]
    found = get(client, url, start="2024-08-08")
    assert found["meta"]["table"] == table
    assert rows is None or len(found["data"]) == rows
    record = CANDLE_ROW if "ohlcv" in url else TABLES[table].record
    assert all(list(row) == record.columns for row in found["data"])


@settings(max_examples=30, deadline=None)
@given(
    url=st.sampled_from(sorted(ROUTES)),
    limit=st.integers(1, 50),
    order=st.sampled_from(["asc", "desc"]),
    exchange=st.sampled_from([None, "binance", "kraken,binance"]),
    start=st.sampled_from([None, "2024-08-08", "2024-08-08T00:03:00Z"]),
)
def test_pages_are_the_whole_and_descending_is_its_exact_reverse(
    client: TestClient,
    url: str,
    limit: int,
    order: str,
    exchange: str | None,
    start: str | None,
) -> None:
    asked = {k: v for k, v in {"exchange": exchange, "start": start}.items() if v}
    whole = get(client, url, limit=10_000, **asked)["data"]
    expected = whole if order == "asc" else whole[::-1]
    if len(expected) > 20:
        limit = max(limit, 10)
    assert walked(client, url, limit, order=order, **asked) == expected


def test_the_newest_rows_are_found_however_long_ago_they_were(client: TestClient) -> None:
    one = {"exchange": "binance", "symbol": "BTC-USDT", "order": "desc"}
    every = get(client, "/v1/trades", exchange="binance", symbol="BTC-USDT", start="2024-08-08")
    newest = get(client, "/v1/trades", limit=3, **one)
    assert newest["data"] == every["data"][:-4:-1]
    assert newest["meta"]["start"] is None
    assert walked(client, "/v1/trades", 7, **one) == every["data"][::-1]
    before = get(client, "/v1/trades", limit=3, end="2024-08-08T00:01:00Z", **one)["data"]
    assert before == [r for r in every["data"] if r["timestamp"] < "2024-08-08T00:01"][:-4:-1]


def test_several_names_are_the_union_of_each(client: TestClient) -> None:
    both = get(client, "/v1/trades", symbol="ethusdt,BTC-USD", start="2024-08-08")["data"]
    alone = [
        get(client, "/v1/trades", symbol=s, start="2024-08-08")["data"]
        for s in ("ETH-USDT", "XBT/USD")
    ]
    assert both == [*alone[0], *alone[1]]
    assert len(both) == 70


def test_fields_are_those_that_were_asked_for_in_that_order(client: TestClient) -> None:
    whole = get(client, "/v1/ohlcv/1m", start="2024-08-08")["data"]
    some = get(client, "/v1/ohlcv/1m", start="2024-08-08", fields="close,window_start")["data"]
    assert some == [{"close": r["close"], "window_start": r["window_start"]} for r in whole]
    assert [list(r) for r in some] == [["close", "window_start"]] * len(whole)
    assert walked(client, "/v1/ohlcv/1m", 20, fields="close,window_start", start="2024-08-08") == (
        some
    )
    unknown = client.get("/v1/trades?fields=price,prise")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_field")
    assert "price" in unknown.json()["detail"]


@pytest.mark.parametrize(
    ("url", "column", "value", "rows"),
    [
        ("/v1/gaps", "state", "repaired", 3),
        ("/v1/gaps", "cause", "rotation", 0),
        ("/v1/condition", "kind", "quotes", 2),
        ("/v1/condition", "condition", "degraded", 1),
        ("/v1/reconciliation", "outcome", "differs", 1),
        ("/v1/reconciliation", "timeframe", "5m", 1),
        ("/v1/rejected", "reason", "no_such_symbol", 1),
        ("/v1/rejected", "kind", "quotes", 0),
    ],
)
def test_rows_are_narrowed_by_what_they_are(
    client: TestClient, url: str, column: str, value: str, rows: int
) -> None:
    found = get(client, url, **{column: value})["data"]
    assert [row[column] for row in found] == [value] * rows


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("/v1/gaps?state=closed", "state"),
        ("/v1/reconciliation?timeframe=7m", "timeframe"),
        ("/v1/trades?order=up", "order"),
        ("/v1/trades?symbol=BTC-USDT,", "empty name"),
        ("/v1/trades?exchange=" + ",".join(f"e{n}" for n in range(51)), "at most 50"),
        ("/v1/summary/BTC-USDT/2024-08-08T01:00:00Z", "date"),
        ("/v1/summary/BTC-USDT/yesterday", "not a time"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_says_why(
    client: TestClient, url: str, says: str
) -> None:
    answer = client.get(url)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert says in answer.json()["detail"]


def test_what_is_missing_can_be_asked_for_though_it_never_traded(client: TestClient) -> None:
    [row] = get(client, "/v1/condition", symbol="new-usdt")["data"]
    assert (row["symbol"], row["condition"]) == ("NEW-USDT", "missing")
    assert client.get("/v1/trades?symbol=NEW-USDT").status_code == 404


def test_a_days_conditions_are_asked_for_by_day(client: TestClient) -> None:
    found = get(client, "/v1/condition", start="2024-08-09", end="2024-08-10")["data"]
    assert {row["day"] for row in found} == {"2024-08-09"}
    assert len(found) == 2


def test_a_rejected_frame_comes_back_byte_for_byte(client: TestClient) -> None:
    row = get(client, "/v1/rejected", limit=1)["data"][0]
    assert base64.b64decode(row["payload"]) == b'{"price":"-1"}\xff'


def test_a_summary_is_what_the_other_routes_say_of_the_day(client: TestClient) -> None:
    found = get(client, "/v1/summary/btcusdt/2024-08-08")["data"]
    day = {"symbol": "BTC-USDT", "exchange": "binance", "start": "2024-08-08", "end": "2024-08-09"}
    assert found == [
        {
            "exchange": "binance",
            "symbol": "BTC-USDT",
            "date": "2024-08-08",
            "candle": get(client, "/v1/ohlcv/1d", **day)["data"][0],
            "conditions": get(client, "/v1/condition", **day)["data"],
            "gaps": get(client, "/v1/gaps", **day)["data"],
            "quotes": 40,
        }
    ]
    empty = get(client, "/v1/summary/BTC-USD/2024-08-20")["data"]
    assert [(r["exchange"], r["candle"], r["quotes"]) for r in empty] == [("kraken", None, 0)]


def test_what_was_listed_then_is_what_had_trades_then(client: TestClient) -> None:
    first = get(client, "/v1/snapshots", table="gold.trades")["data"][-1]
    then = get(client, "/v1/symbols", as_of=first["snapshot_id"])
    assert then["meta"]["snapshot_id"] == first["snapshot_id"]
    assert sum(row["trades"] for row in then["data"]) == first["rows"]
    kraken = get(client, "/v1/symbols", exchange="kraken")["data"]
    assert [(row["exchange"], row["trades"]) for row in kraken] == [("kraken", 30)]
    before = get(client, "/v1/symbols", as_of="2020-01-01")
    assert (before["data"], before["meta"]["snapshot_id"]) == ([], None)
    nothing = client.get("/v1/summary/BTC-USDT/2024-08-08?as_of=2020-01-01")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "unknown_symbol")


def test_snapshots_can_be_asked_for_by_their_ids(client: TestClient) -> None:
    kept = get(client, "/v1/snapshots", table="gold.trades")["data"]
    assert kept[0]["snapshot_id"] == get(client, "/v1/trades")["meta"]["snapshot_id"]
    assert [k["rows"] for k in kept] == sorted((k["rows"] for k in kept), reverse=True)
    for snapshot in kept:
        rows = get(
            client, "/v1/trades", as_of=snapshot["snapshot_id"], start="2024-08-08", fields="price"
        )["data"]
        assert len(rows) == snapshot["rows"]
    assert {s["table"] for s in get(client, "/v1/snapshots", limit=1)["data"]} >= {
        "gold.trades",
        "gold.quotes",
        "gold.ohlcv_1d",
    }
    assert client.get("/v1/snapshots?table=gold.nothing").json()["code"] == "unknown_table"


def test_stats_count_what_there_is(client: TestClient) -> None:
    found = get(client, "/v1/stats")["data"]
    assert [(i["symbol"], i["trades"]) for i in found["instruments"]] == [
        ("BTC-USDT", 60),
        ("ETH-USDT", 40),
        ("BTC-USD", 30),
    ]
    assert {t["name"]: t["rows"] for t in found["tables"]}["gold.quotes"] == 40
