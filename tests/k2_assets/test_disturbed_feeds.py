"""What an exchange does wrong ends in the right tables: from a real socket to gold."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k2_assets.ingest import drain
from k2_feeds.adapter import Liveness
from k2_feeds.adapters import adapter
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.live import session as session_module
from k2_feeds.live.feed import Feed, Plan, run_feeds
from k2_feeds.simulator.exchange import SimulatedExchange
from k2_feeds.simulator.server import serve
from k2_lake.tables import REJECTED_TABLE, TRADES_TABLE
from k2_market.kinds import Kind
from tests.feeds import running, until
from tests.lakes import LakeDriver

SYMBOLS = ("BTC-USDT", "ETH-USDT")
Id = tuple[str, int]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaSettings]:
    with start_broker(tmp_path / "broker") as broker:
        yield broker.settings


def _record(kafka: KafkaSettings, exchange: str, *faults: str, frames: int = 400) -> set[Id]:
    """A feed of a simulated exchange with these faults; the ids of the trades that it sent."""

    async def scenario() -> SimulatedExchange:
        async with serve(symbols=SYMBOLS, only=[exchange], rate=400) as simulator:
            simulated = simulator.exchanges[exchange]
            for fault in faults:
                simulated.disturbances.set(*fault.split("="))
            plan = Plan(adapter(exchange), Kind.TRADES, SYMBOLS, (simulator.endpoint,))
            feed = Feed(plan, kafka, None)
            async with running(run_feeds([feed], stop=(stop := asyncio.Event()))) as task:
                await until(lambda: feed.sessions[0].status.frames >= frames)
                simulator.rate = 0
                await asyncio.sleep(0.3)
                stop.set()
                await task
            return simulated

    return _sent(asyncio.run(scenario()))


def _sent(exchange: SimulatedExchange) -> set[Id]:
    return {
        (symbol, number)
        for symbol, ids in exchange.sent.items()
        for first, last in ids.ranges
        for number in range(first, last + 1)
    }


def _through(tmp_path: Path, kafka: KafkaSettings, exchange: str) -> LakeDriver:
    driver = LakeDriver(tmp_path / "lake")
    while drain(driver.lake, kafka, exchange, Kind.TRADES).lag:
        pass
    driver.tick([exchange])
    return driver


def _gold(driver: LakeDriver) -> list[Id]:
    rows = driver.rows(TRADES_TABLE)
    return [(str(row["symbol"]), int(str(row["source_sequence"]))) for row in rows]


@pytest.mark.parametrize("exchange", ["binance", "kraken"])
def test_repeated_and_disordered_frames_are_each_trade_once_and_damaged_ones_are_rejected(
    tmp_path: Path, kafka: KafkaSettings, exchange: str
) -> None:
    sent = _record(kafka, exchange, "duplicate=0.2", "disorder=0.2", "malformed=0.1")
    driver = _through(tmp_path, kafka, exchange)
    gold = _gold(driver)
    assert sent
    assert sorted(gold) == sorted(set(gold))
    assert sent - set(gold) == set()
    rejected = driver.rows(REJECTED_TABLE)
    assert len(rejected) > 10
    assert {row["reason"] for row in rejected} <= {"malformed_json", "unknown_frame"}


def test_trades_of_a_clock_that_is_hours_ahead_are_rejected_with_the_reason(
    tmp_path: Path, kafka: KafkaSettings
) -> None:
    sent = _record(kafka, "binance", "skew=7200", frames=100)
    driver = _through(tmp_path, kafka, "binance")
    assert _gold(driver) == []
    rejected = driver.rows(REJECTED_TABLE)
    assert len(rejected) == len(sent) > 50
    assert {row["reason"] for row in rejected} == {"time_in_future"}


def test_what_two_connections_deliver_during_a_rotation_is_in_gold_once_and_complete(
    tmp_path: Path, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_OVERLAP_S", 0.3)
    venue: Any = dataclasses.replace(adapter("binance"), liveness=Liveness(None, 1.0))  # type: ignore[type-var]

    async def scenario() -> SimulatedExchange:
        async with serve(symbols=SYMBOLS, only=["binance"], rate=200) as simulator:
            plan = Plan(venue, Kind.TRADES, SYMBOLS, (simulator.endpoint,))
            feed = Feed(plan, kafka, None)
            async with running(run_feeds([feed], stop=(stop := asyncio.Event()))) as task:
                await until(lambda: feed.sessions[0].status.connections >= 4)
                simulator.rate = 0
                await asyncio.sleep(0.3)
                stop.set()
                await task
            assert feed.status["last_error"] is None
            return simulator.exchanges["binance"]

    simulated = asyncio.run(scenario())
    driver = _through(tmp_path, kafka, "binance")
    gold = _gold(driver)
    assert len(gold) == len(set(gold))
    assert all(len(ids.ranges) == 1 for ids in simulated.sent.values())  # nobody was ever away
    assert _sent(simulated) <= set(gold)
    assert len(driver.rows("bronze.binance_trades")) > len(gold)
