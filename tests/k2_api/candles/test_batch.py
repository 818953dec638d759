"""Several questions at once, and how far the candles are."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.k2_api.candles.traded import ask

ALONE: list[dict[str, Any]] = [
    {"timeframe": "1m", "symbol": "BTC-USDT", "exchange": "binance", "order": "desc", "limit": 3},
    {"timeframe": "7m", "symbol": "BTC-USDT", "start": "2024-03-30", "limit": 4},
    {"timeframe": "1d", "symbol": "ETH-USDT", "tz": "Europe/Berlin", "start": "2024-03-01"},
    {"timeframe": "4h", "symbol": "BTC-USDT", "fill": "prev", "consolidated": True, "limit": 9},
]


def posted(client: TestClient, requests: list[dict[str, Any]]) -> dict[str, Any]:
    answer = client.post("/v1/ohlcv/batch", json={"requests": requests})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_each_question_of_a_batch_is_answered_as_if_asked_alone(asking: TestClient) -> None:
    found = posted(asking, ALONE)
    for asked, item in zip(ALONE, found["data"], strict=True):
        alone = {k: str(v).lower() if v is True else v for k, v in asked.items()}
        timeframe = alone.pop("timeframe")
        assert item == ask(asking, f"/v1/ohlcv/{timeframe}", **alone)
        assert found["meta"]["snapshots"][item["meta"]["table"]] == item["meta"]["snapshot_id"]


def test_a_page_of_a_batch_goes_on_alone(asking: TestClient) -> None:
    [item] = posted(asking, [ALONE[1]])["data"]
    cursor = item["meta"]["next_cursor"]
    more = {**ALONE[1], "cursor": cursor}
    more.pop("timeframe")
    following = ask(asking, "/v1/ohlcv/7m", **more)["data"]
    assert following[0]["window_start"] > item["data"][-1]["window_start"]


def test_a_question_that_cannot_be_answered_has_its_own_problem(asking: TestClient) -> None:
    wrong = [
        {"timeframe": "7s", "symbol": "BTC-USDT"},
        {"timeframe": "1m", "symbol": "DOGE-USDT"},
        {"timeframe": "1m", "start": "yesterday"},
    ]
    found = posted(asking, [ALONE[0], *wrong])["data"]
    assert len(found[0]["data"]) == 3
    problems = [item["problem"] for item in found[1:]]
    assert [(p["status"], p["code"]) for p in problems] == [
        (422, "invalid_parameter"),
        (404, "unknown_symbol"),
        (422, "invalid_parameter"),
    ]
    assert all(p["instance"] == "/v1/ohlcv/batch" for p in problems)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"requests": []}, 422, "requests"),
        ({"requests": [ALONE[0]] * 21}, 422, "requests"),
        ({"requests": [{"symbol": "BTC-USDT"}]}, 422, "timeframe"),
        ({"requests": [{**ALONE[0], "limit": 0}]}, 422, "limit"),
        ({"requests": [{**ALONE[0], "speed": 1}]}, 422, "speed"),
        ({"requests": [{**ALONE[0], "limit": 10_000}] * 3}, 413, "20,000"),
        ({}, 422, "requests"),
        ([], 422, "dictionary"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_as_a_whole(
    asking: TestClient, body: object, status: int, says: str
) -> None:
    answer = asking.post("/v1/ohlcv/batch", json=body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_health_tells_of_each_instrument_how_far_its_candles_are(asking: TestClient) -> None:
    found = ask(asking, "/v1/ohlcv/health")["data"]
    assert [(r["exchange"], r["symbol"]) for r in found] == [
        ("binance", "BTC-USDT"),
        ("binance", "ETH-USDT"),
        ("binance_usdm", "BTC-USDT"),
    ]
    for row in found:
        of = {"exchange": row["exchange"], "symbol": row["symbol"], "order": "desc", "limit": 1}
        assert list(row["timeframes"]) == ["1m", "5m", "30m", "1h", "1d"]
        for name, frame in row["timeframes"].items():
            [newest] = ask(asking, f"/v1/ohlcv/{name}", **of)["data"]
            assert frame["newest_window"] == newest["window_start"].replace(".000000", "")
            assert frame["final_until"] >= frame["newest_window"]
            assert frame["slo_seconds"] in (60, 90)
        assert (row["open_gaps"], row["missing_trades"]) == (0, 0)
