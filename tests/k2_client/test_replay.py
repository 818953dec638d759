from __future__ import annotations

import pytest

from k2_client import BadAnswer, Trades
from tests.k2_client.scripted import Said, asking, problem
from tests.k2_client.test_live import trades

END = b'{"type":"end","has_more":false,"cursor":"z"}\n'
MORE = b'{"type":"end","has_more":true,"cursor":"b"}\n'


def lines(*messages: str) -> bytes:
    return "".join(f"{m}\n" for m in messages).encode()


def test_a_replay_goes_on_from_page_to_page() -> None:
    first = Said(200, lines(trades(1, cursor="a"), trades(2, 3, cursor="b")) + MORE)
    limited = problem(429, "rate_limited", Retry_After="1")
    last = Said(200, lines(trades(4, cursor="z")) + END)
    with asking(first, limited, last) as (k2, asked):
        found = list(k2.replay("BTC-USDT", start="2024-08-08", channels="trades"))
        told = "symbol=BTC-USDT&start=2024-08-08&channels=trades"
        assert asked.lines == [
            f"GET /v1/replay?{told}&limit=10000",
            f"GET /v1/replay?{told}&limit=10000&cursor=b",
            f"GET /v1/replay?{told}&limit=10000&cursor=b",
        ]
    rows = [
        row.trade_id for message in found if isinstance(message, Trades) for row in message.rows
    ]
    assert rows == ["1", "2", "3", "4"]


def test_a_page_without_an_end_is_no_page() -> None:
    cut = Said(200, lines(trades(1, cursor="a")))
    with asking(cut) as (k2, _):
        messages = k2.replay(start="2024-08-08", cursor="y")
        assert next(messages).cursor == "a"
        with pytest.raises(BadAnswer, match="has no end"):
            next(messages)
