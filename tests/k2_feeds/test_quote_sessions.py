"""Quotes of every exchange from a socket to a topic of their own, beside the trades."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from k2_feeds.adapter import Liveness
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.live import session as session_module
from k2_feeds.live.feed import Feed, Plan, run_feeds
from k2_feeds.parsing import frames as parsing
from k2_feeds.parsing.frames import Parsed
from k2_feeds.simulator.server import serve
from k2_feeds.simulator.synthetic import PERPETUALS
from k2_market.kinds import Kind
from tests.frames import bronze_rows

SYMBOLS = ("BTC-USDT", "ETH-USDT")


@pytest.fixture
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    with start_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.settings


async def _until(condition: Callable[[], bool]) -> None:
    """Wait for a condition of counters, which announce nothing; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def _frames_of(feed: Feed) -> int:
    return int(str(feed.status["frames"]))


def _parsed(settings: KafkaSettings, exchange: str, kind: Kind) -> tuple[Parsed, int]:
    """What the frames of a raw topic say, and how many those are."""
    with TopicReader(settings, raw_topic(kind, exchange)) as reader:
        end = {partition: high for partition, (_, high) in reader.watermarks().items()}
        batch = reader.read({}, end, 1_000_000)
    assert batch is not None
    return parsing.parse(exchange, kind, bronze_rows(batch.table)), batch.table.num_rows


@pytest.mark.parametrize("exchange", ADAPTERS)
def test_quotes_and_trades_reach_topics_of_their_own(kafka: KafkaSettings, exchange: str) -> None:
    symbols = PERPETUALS[:2] if exchange == "binance_coinm" else SYMBOLS

    async def scenario() -> list[dict[str, object]]:
        async with serve(rate=200) as simulator:
            plans = [Plan(adapter(exchange), kind, symbols, (simulator.endpoint,)) for kind in Kind]
            feeds = [Feed(plan, kafka, None) for plan in plans]
            stop = asyncio.Event()
            running = asyncio.create_task(run_feeds(feeds, stop=stop))
            await _until(lambda: all(_frames_of(feed) >= 100 for feed in feeds))
            assert simulator.connections == 2
            stop.set()
            await running
            return [feed.status for feed in feeds]

    for kind, status in zip(Kind, asyncio.run(scenario()), strict=True):
        parsed, frames = _parsed(kafka, exchange, kind)
        assert frames == status["acknowledged"] == status["frames"]
        assert parsed.rejected.to_pylist() == []
        assert parsed.other == 0
        assert set(parsed.rows["symbol"].to_pylist()) == set(symbols)
        assert parsed.rows.num_rows >= frames - parsed.control > 90
    _assert_well_ordered(_parsed(kafka, exchange, Kind.QUOTES)[0])


def _assert_well_ordered(quotes: Parsed) -> None:
    found = defaultdict(list)
    for row in quotes.rows.to_pylist():
        found[row["symbol"]].append(row)
        assert 0 < row["bid_price"] < row["ask_price"]
        assert min(row["bid_quantity"], row["ask_quantity"]) > 0
    for rows in found.values():
        assert len({row["quote_id"] for row in rows}) == len(rows)
        assert all(a["source_sequence"] <= b["source_sequence"] for a, b in pairwise(rows))


@pytest.mark.parametrize("exchange", ["binance", "kraken", "coinbase"])
def test_the_repeats_of_two_overlapping_connections_have_the_ids_of_the_first(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch, exchange: str
) -> None:
    monkeypatch.setattr(session_module, "_OVERLAP_S", 0.3)
    venue: Any = adapter(exchange)
    venue = dataclasses.replace(venue, liveness=Liveness(None, 2.0))

    async def scenario() -> None:
        async with serve(rate=50) as simulator:
            plan = Plan(venue, Kind.QUOTES, SYMBOLS, (simulator.endpoint,))
            stop, feed = asyncio.Event(), Feed(plan, kafka, None)
            running = asyncio.create_task(run_feeds([feed], stop=stop))
            await _until(lambda: simulator.connections == 2)
            await _until(lambda: simulator.connections == 1)
            stop.set()
            await running

    asyncio.run(scenario())
    rows = _parsed(kafka, exchange, Kind.QUOTES)[0].rows.to_pylist()
    states = defaultdict(set)
    for row in rows:
        book = tuple(row[name] for name in ("bid_price", "bid_quantity", "ask_price"))
        states[row["symbol"], row["quote_id"]].add((*book, row["ask_quantity"]))
    assert len(states) < len(rows)
    assert {len(books) for books in states.values()} == {1}
    # The sizes of the simulated book never repeat within so few quotes: a state has one id.
    assert len({(key[0], *books) for key, books in states.items()}) == len(states)
