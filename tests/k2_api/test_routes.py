from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_api.reading.candle_set import CANDLE_ROW, FILLED_ROW
from k2_lake.catalog import LakeSettings
from k2_lake.tables import TABLES
from k2_market.records import TRADE
from tests.k2_api.conftest import FILLED
from tests.k2_api.lake_of_trades import Made, TradeLake, many
from tests.keyed import keyed

ALL = "start=2024-08-08&end=2024-08-10"
STREAMS = {
    "/v1/replay": "application/x-ndjson",
    "/v1/live": "text/event-stream",
    "/metrics": "text/plain",
}
INJECTIONS = [
    "' or 1=1 --",
    "BTC-USDT'; drop table gold.trades; --",
    "BTC-USDT' union select * from silver.rejected --",
    "$limit",
    "{rows}",
    "\\'; copy (select 1) to '/tmp/x'; --",
    "\x00",
    "%27%20or%201=1",
]


def get(client: TestClient, url: str, **parameters: object) -> dict[str, Any]:
    response = client.get(url, params={k: str(v) for k, v in parameters.items()} or None)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def problem(client: TestClient, url: str, status: int, code: str) -> str:
    response = client.get(url)
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["type"] == f"urn:k2:problem:{code}"
    assert set(body) == {"type", "title", "status", "detail", "code", "instance"}
    assert body["instance"] == url.split("?")[0]
    detail: str = body["detail"]
    return detail


def locations(lake: TradeLake) -> list[str]:
    return [lake.lake.table(n).metadata_location for n in TABLES]


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    at = row.get("timestamp", row.get("window_start"))
    return (row["exchange"], row["symbol"], at, row.get("source_sequence"), row.get("trade_id"))


def test_trades_come_in_order_with_every_field_as_stored(client: TestClient) -> None:
    found = get(client, f"/v1/trades?{ALL}")
    rows = found["data"]
    assert len(rows) == len(FILLED)
    assert [key(r) for r in rows] == sorted(key(r) for r in rows)
    assert all(list(r) == TRADE.columns for r in rows)
    odd = next(r for r in rows if r["trade_id"] == "5000")
    assert odd["price"] == "0.00000001"
    assert odd["quantity"] == "12345678901234567890.12345678"
    assert odd["timestamp"] == "2024-08-09T00:00:00.000001Z"
    assert odd["event_time"] is None
    assert odd["trade_conditions"] == ["INSURANCE_FUND", 'odd "name", ü']
    assert odd["vendor_data"] == {"X": "MARKET", "note": "a,b"}
    assert odd["trade_date"] == "2024-08-09"
    assert rows[0]["trade_conditions"] is None
    assert rows[0]["vendor_data"] is None
    assert found["meta"]["has_more"] is False
    assert found["meta"]["next_cursor"] is None
    assert found["meta"]["table"] == "gold.trades"


def test_a_candle_is_what_the_table_holds(client: TestClient) -> None:
    found = get(client, "/v1/ohlcv/1d?symbol=BTC-USDT&start=2024-08-09")
    assert [list(r) for r in found["data"]] == [CANDLE_ROW.columns]
    row = found["data"][0]
    assert (row["open"], row["close"], row["vwap"]) == ("0.00000001",) * 3
    assert row["volume"] == "12345678901234567890.12345678"
    assert row["quote_volume"] == "123456789012.3456789012345678"
    assert row["window_start"] == "2024-08-09T00:00:00.000000Z"
    assert row["window_end"] == "2024-08-10T00:00:00.000000Z"
    assert row["trade_count"] == 1


@pytest.mark.parametrize(
    ("asked", "symbol"),
    [
        ("BTC-USDT", "BTC-USDT"),
        ("btc-usdt", "BTC-USDT"),
        ("BTCUSDT", "BTC-USDT"),
        ("btcusdt", "BTC-USDT"),
        ("XBT/USD", "BTC-USD"),
        ("xbt/usd", "BTC-USD"),
        ("BTC-USD", "BTC-USD"),
    ],
)
def test_a_symbol_is_understood_in_any_spelling(
    client: TestClient, asked: str, symbol: str
) -> None:
    rows = get(client, "/v1/trades", symbol=asked, start="2024-08-08")["data"]
    assert {r["symbol"] for r in rows} == {symbol}


def test_start_is_inclusive_and_end_exclusive(client: TestClient) -> None:
    def times(parameters: str) -> list[str]:
        rows = get(client, f"/v1/trades?exchange=kraken&{parameters}")["data"]
        return sorted({r["timestamp"][11:19] for r in rows})

    assert times("start=2024-08-08T00:00:01Z&end=2024-08-08T00:00:41Z") == ["00:00:01"]
    assert times("start=2024-08-08T00:00:01.000001Z&end=2024-08-08T00:00:42Z") == ["00:00:41"]
    assert times("start=2024-08-08T02:00:00%2B02:00&end=2024-08-08T02:00:41%2B02:00") == [
        "00:00:01"
    ]
    assert times("start=2024-08-08&end=2024-08-08T00:00:01Z") == []


def test_by_default_a_range_begins_with_the_newest_day(client: TestClient) -> None:
    newest = get(client, "/v1/trades?symbol=BTCUSDT")
    assert [r["trade_id"] for r in newest["data"]] == ["5000"]
    assert newest["meta"]["start"] == "2024-08-09T00:00:00Z"
    assert newest["meta"]["end"] is None
    before = get(client, "/v1/trades?symbol=BTCUSDT&end=2024-08-09")
    assert before["meta"]["start"] == "2024-08-08T00:00:00Z"
    assert len(before["data"]) == 60
    assert len(get(client, "/v1/ohlcv/1d?symbol=BTCUSDT")["data"]) == 2


def paged(client: TestClient, url: str, limits: list[int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor = ""
    for turn in range(10_000):
        limit = limits[turn % len(limits)]
        found = get(client, f"{url}&limit={limit}{cursor}")
        rows += found["data"]
        assert found["meta"]["has_more"] is (found["meta"]["next_cursor"] is not None)
        if not found["meta"]["has_more"]:
            return rows
        assert len(found["data"]) == limit
        cursor = f"&cursor={found['meta']['next_cursor']}"
    raise AssertionError("paging did not end")


@settings(max_examples=12, deadline=None)
@given(
    limits=st.lists(st.integers(4, 140), min_size=1, max_size=4),
    url=st.sampled_from(
        [
            f"/v1/trades?{ALL}",
            f"/v1/trades?{ALL}&symbol=BTC-USDT&exchange=binance",
            "/v1/trades?symbol=ethusdt",
            f"/v1/ohlcv/1m?{ALL}",
            "/v1/ohlcv/5m?exchange=kraken",
        ]
    ),
)
def test_pages_of_any_size_are_exactly_the_unpaged_rows(
    client: TestClient, limits: list[int], url: str
) -> None:
    assert paged(client, url, limits) == get(client, f"{url}&limit=10000")["data"]


def test_pages_of_one_row_are_exactly_the_unpaged_rows(client: TestClient) -> None:
    url = "/v1/trades?exchange=kraken"
    assert paged(client, url, [1]) == get(client, f"{url}&limit=10000")["data"]


def test_has_more_is_false_when_the_limit_is_just_reached(client: TestClient) -> None:
    assert get(client, "/v1/trades?exchange=kraken&limit=30")["meta"]["has_more"] is False
    assert get(client, "/v1/trades?exchange=kraken&limit=29")["meta"]["has_more"] is True


@pytest.mark.any_storage
def test_a_cursor_stays_right_while_the_table_grows(growing: TradeLake) -> None:
    with keyed(growing.settings) as client:
        first = get(client, "/v1/trades?limit=10")
        growing.add([Made(100, 2.5), Made(101, 5000), Made(102, 90_000), Made(103, 0.5)])
        rest = get(client, f"/v1/trades?limit=1000&cursor={first['meta']['next_cursor']}")
        numbers = [int(r["trade_id"]) for r in first["data"] + rest["data"]]
    # 100 and 103 came before the cursor's key; everything behind it is there, and nothing twice.
    assert numbers == [*range(1, 21), 101, 102]
    assert first["meta"]["snapshot_id"] != rest["meta"]["snapshot_id"]
    assert rest["meta"]["start"] == first["meta"]["start"] == "2024-08-08T00:00:00Z"


def test_a_cursor_that_was_altered_or_belongs_elsewhere_is_refused(client: TestClient) -> None:
    cursor = get(client, f"/v1/trades?{ALL}&limit=5")["meta"]["next_cursor"]
    for i in range(len(cursor)):
        altered = cursor[:i] + ("A" if cursor[i] != "A" else "B") + cursor[i + 1 :]
        problem(client, f"/v1/trades?{ALL}&cursor={altered}", 422, "invalid_parameter")
    for url in (
        f"/v1/ohlcv/1m?{ALL}&cursor={cursor}",
        f"/v1/trades?start=2024-08-08&cursor={cursor}",
        f"/v1/trades?{ALL}&symbol=BTC-USDT&cursor={cursor}",
        f"/v1/trades?{ALL}&cursor={cursor}=",
        f"/v1/trades?{ALL}&cursor={cursor[:-4]}",
        f"/v1/trades?{ALL}&cursor=",
    ):
        assert "next_cursor" in problem(client, url, 422, "invalid_parameter")


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("name", ["symbol", "exchange", "start", "end", "cursor", "limit", "x"])
def test_sql_in_a_parameter_is_refused_and_changes_nothing(
    client: TestClient, filled: TradeLake, name: str, text: str
) -> None:
    before = locations(filled)
    for url in ("/v1/trades", "/v1/ohlcv/1m"):
        response = client.get(url, params={name: text})
        assert response.status_code in (404, 422), response.text
        assert response.headers["content-type"] == "application/problem+json"
    assert client.get(f"/v1/ohlcv/{quote(text)}").status_code in (404, 422)
    assert locations(filled) == before


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("start=2024-08-08T00:00:00", "has no zone"),
        ("start=2024-08-08 00:00", "has no zone"),
        ("end=2024-08-08T00:00:00 02:00", "%2B"),
        ("start=yesterday", "is not a time"),
        ("start=2024-02-30", "is not a time"),
        ("start=2024-08-08T25:00:00Z", "is not a time"),
        ("start=1723075200", "is not a time"),
        ("start=0001-01-01", "year 1"),
        ("end=9999-12-31T23:59:59Z", "year 9999"),
        ("start=2024-08-09&end=2024-08-08", "not after start"),
        ("start=2024-08-08&end=2024-08-08", "not after start"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=many", "limit"),
        ("symbl=BTCUSDT", "symbl"),
        ("symbol=" + "B" * 65, "symbol"),
    ],
)
def test_a_parameter_that_cannot_be_understood_is_422_and_says_why(
    client: TestClient, query: str, says: str
) -> None:
    assert says in problem(client, f"/v1/trades?{query}", 422, "invalid_parameter")


def test_unknown_names_are_404_and_name_the_known_ones(client: TestClient) -> None:
    assert "BTC-USDT" in problem(client, "/v1/trades?symbol=DOGEUSDT", 404, "unknown_symbol")
    assert "BTC-USDT" not in problem(
        client, "/v1/trades?symbol=BTCUSDT&exchange=kraken", 404, "unknown_symbol"
    )
    assert "kraken" in problem(client, "/v1/trades?exchange=nyse", 404, "unknown_exchange")
    problem(client, "/v2/trades", 404, "not_found")


def test_another_method_is_405_in_the_same_shape(client: TestClient) -> None:
    response = client.post("/v1/trades")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == "GET"
    assert response.headers["content-type"] == "application/problem+json"


def test_symbols_count_trades_by_instrument(client: TestClient) -> None:
    found = get(client, "/v1/symbols")["data"]
    assert [tuple(r.values()) for r in found] == [
        ("binance", "BTC-USDT", "BTCUSDT", "2024-08-08", "2024-08-09", 61),
        ("binance", "ETH-USDT", "ETHUSDT", "2024-08-08", "2024-08-08", 40),
        ("kraken", "BTC-USD", "XBT/USD", "2024-08-08", "2024-08-08", 30),
    ]


def test_symbols_follow_the_table(growing: TradeLake) -> None:
    with keyed(growing.settings) as client:
        assert [r["trades"] for r in get(client, "/v1/symbols")["data"]] == [20]
        growing.add([*many(7, first=500), Made(1, 0, own="ETHUSDT", symbol="ETH-USDT")])
        assert [r["trades"] for r in get(client, "/v1/symbols")["data"]] == [27, 1]


def test_health_tells_every_table_with_snapshot_and_rows(
    client: TestClient, filled: TradeLake
) -> None:
    found = get(client, "/health")
    assert (found["status"], found["newest_trade"]) == ("ok", "2024-08-09T00:00:00.000001Z")
    tables = {t["name"]: t for t in found["tables"]}
    assert list(tables) == list(TABLES)
    head = filled.lake.table("gold.trades").current_snapshot()
    assert head is not None
    assert tables["gold.trades"]["snapshot_id"] == str(head.snapshot_id)
    assert tables["gold.trades"]["rows"] == len(FILLED)
    assert tables["silver.rejected"]["rows"] == 0
    assert (tables["gold.trades"]["lag_seconds"], tables["gold.trades"]["slo_seconds"]) == (0, 60)
    assert tables["gold.ohlcv_5m"]["slo_seconds"] == 90
    assert tables["bronze.kraken_trades"]["lag_seconds"] is None
    assert tables["gold.instruments"]["slo_seconds"] is None


def test_without_a_lake_the_api_lives_says_so_and_makes_none(tmp_path: Path) -> None:
    home = tmp_path / "none"
    with keyed(LakeSettings.from_environment({}, home)) as client:
        found = get(client, "/health")
        assert (found["status"], found["tables"]) == ("degraded", [])
        for url in ("/v1/trades", "/v1/ohlcv/1m", "/v1/symbols"):
            problem(client, url, 503, "lake_unavailable")
            assert client.get(url).headers["retry-after"] == "5"
        assert [f.name for f in home.iterdir()] == ["api"]
        TradeLake(home).add(many(3))
        assert len(get(client, "/v1/trades")["data"]) == 3


def test_an_empty_lake_has_empty_pages_and_no_symbols(tmp_path: Path) -> None:
    _ = TradeLake(tmp_path).lake.catalog
    with keyed(LakeSettings.from_environment({}, tmp_path)) as client:
        found = get(client, "/v1/trades")
        assert found["data"] == []
        assert found["meta"]["snapshot_id"] is None
        assert get(client, "/v1/symbols")["data"] == []
        problem(client, "/v1/trades?symbol=BTCUSDT", 404, "unknown_symbol")


def test_a_data_file_that_is_gone_is_503(growing: TradeLake) -> None:
    for file in (growing.settings.home / "warehouse").rglob("*.parquet"):
        file.unlink()
    with keyed(growing.settings) as client:
        problem(client, "/v1/trades", 503, "lake_unavailable")


def test_requests_at_once_and_beside_a_writer_all_get_right_answers(growing: TradeLake) -> None:
    answers: list[list[str]] = []

    with keyed(growing.settings) as client:

        def ask() -> None:
            for _ in range(10):
                rows = get(client, "/v1/trades?symbol=BTCUSDT")["data"]
                answers.append([r["trade_id"] for r in rows])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        growing.add(many(10, first=900))
        for thread in threads:
            thread.join()
    assert len(answers) == 40
    old = [str(n) for n in range(1, 21)]
    assert {tuple(sorted(a)) for a in answers} <= {
        tuple(sorted(old)),
        tuple(sorted([*old, *map(str, range(900, 910))])),
    }


def test_openapi_describes_every_field_and_every_error(client: TestClient) -> None:
    document = get(client, "/openapi.json")
    shapes = document["components"]["schemas"]
    for record in (TRADE, FILLED_ROW):
        properties = shapes[record.name]["properties"]
        assert list(properties) == record.columns
        assert all(properties[c]["description"] for c in record.columns)
    assert shapes["Trade"]["properties"]["price"]["format"] == "decimal"
    for path, operation in ((p, o) for p, of in document["paths"].items() for o in of.values()):
        assert operation["summary"]
        for status, response in operation["responses"].items():
            answers = STREAMS.get(path, "application/json")
            kind = answers if status == "200" else "application/problem+json"
            assert list(response.get("content", {}))[:1] == [kind] or status == "304", path
    for parameter in document["paths"]["/v1/trades"]["get"]["parameters"]:
        assert parameter["description"]
