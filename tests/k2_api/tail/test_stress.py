"""Frames, ticks and questions at once: no answer lacks a row that it promises, or has one twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from tests.k2_api.tail.fed import Fed, Row, recent, trades

LASTS_S = 4.0
A_ROUND = 25


@pytest.mark.timeout(300)
def test_answers_are_whole_while_frames_come_and_tables_move(market: Fed) -> None:
    market.produce(trades(1, A_ROUND))
    market.until_ids(range(1, A_ROUND + 1))
    done = threading.Event()
    # When so many ids were in Kafka.
    produced: list[tuple[datetime, int]] = [(datetime.now(UTC), A_ROUND)]

    def produce() -> None:
        last = produced[-1][1]
        market.produce(recent(trades(last + 1, last + A_ROUND)))
        produced.append((datetime.now(UTC), last + A_ROUND))
        time.sleep(0.05)

    def ask() -> None:
        answer = market.get("trades", start="2024-08-08", limit=10_000)
        found = [int(row["trade_id"]) for row in answer["data"]]
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= _promised(answer["meta"]["freshness"])

    def _promised(told: Row) -> int:
        if told["tail"] != "live":
            return 0
        through = datetime.fromisoformat(told["through"])
        return max((ids for at, ids in list(produced) if at <= through), default=0)

    def again(work: Callable[[], None]) -> None:
        while not done.is_set():
            work()

    with ThreadPoolExecutor(4) as pool:
        try:
            running = [pool.submit(again, work) for work in (produce, market.tick, ask, ask)]
            time.sleep(LASTS_S)
        finally:
            done.set()
        for each in running:
            each.result()
    last = produced[-1][1]
    assert last > 2 * A_ROUND
    market.until_ids(range(1, last + 1))
