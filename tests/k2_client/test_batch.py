from __future__ import annotations

import json

import pytest

from k2_client import K2, Page, UnknownName
from k2_market.errors import UsageError
from tests.k2_client.scripted import asking, problem, rows


def test_questions_go_twenty_at_a_time_and_a_problem_is_of_its_question_alone() -> None:
    refused = {"problem": json.loads(problem(404, "unknown_symbol", "no X.").body)}
    answered = {"data": [], "meta": {"table": "gold.ohlcv_1m", "has_more": True}}
    with asking(rows(*[answered] * 19, refused), rows(answered)) as (k2, asked):
        questions = [k2.ohlcv(f"S-{n}", "binance", "7m", "2024-08-08") for n in range(20)]
        last = k2.ohlcv("S-20", "binance", "1M", fill="prev", tz="Europe/Berlin", limit=5)
        found = k2.batch([*questions, last])
        assert asked.lines == ["POST /v1/ohlcv/batch"] * 2
        first, second = (json.loads(body)["requests"] for body in asked.bodies)
    assert [q["symbol"] for q in first] == [f"S-{n}" for n in range(20)]
    assert second == [
        {
            "symbol": "S-20",
            "exchange": "binance",
            "timeframe": "1M",
            "fill": "prev",
            "tz": "Europe/Berlin",
            "limit": 5,
        }
    ]
    assert len(found) == 21
    assert isinstance(found[0], Page)
    assert found[0].meta.has_more is True
    assert isinstance(found[19], UnknownName)
    assert isinstance(found[20], Page)


def test_a_batch_is_of_candles_alone() -> None:
    k2 = K2("http://127.0.0.1:9")
    with pytest.raises(UsageError, match="/v1/trades is asked by itself"):
        k2.batch([k2.trades()])  # type: ignore[list-item]
