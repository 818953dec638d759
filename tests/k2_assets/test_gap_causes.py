"""From a live session to gold.gaps: what went wrong on the way is told by cause."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from k2_assets.ingest import drain
from k2_feeds.adapters import adapter
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import Frame, Origin
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.live.router import FrameRouter
from k2_feeds.live.session import Session
from k2_feeds.simulator.exchange import SimulatedExchange
from k2_feeds.simulator.server import serve
from k2_lake.quality.day_condition import assess
from k2_lake.quality.day_expectation import Configured
from k2_lake.quality.gaps import recorded_gaps
from k2_lake.tables import CONDITION_TABLE
from k2_market.kinds import Kind
from tests.feeds import running, until
from tests.lakes import LakeDriver

SYMBOLS = ("BTC-USDT", "ETH-USDT")


class LossyProducer(FrameProducer):
    """Takes frames and loses ten of them, long after the connection has counted them."""

    given = 0

    def offer(self, frame: Frame, key: str | None, origin: Origin = Origin.LIVE) -> bool:
        self.given += 1
        return 60 <= self.given < 70 or super().offer(frame, key, origin)


async def _trouble(kafka: KafkaSettings) -> None:
    """Frames lost by us; trades that the exchange keeps back; a connection that ends."""
    async with serve(symbols=SYMBOLS, rate=200) as simulator:
        exchange: SimulatedExchange = simulator.exchanges["binance"]
        with LossyProducer(kafka, "binance", Kind.TRADES) as producer:
            router = FrameRouter(adapter("binance"), Kind.TRADES, producer)
            live = Session(router, SYMBOLS, [simulator.endpoint])
            async with running(live.run()):
                await until(lambda: live.status.frames > 150)
                exchange.disturbances.set("withhold", "BTC-USDT:20")
                await until(lambda: not exchange.disturbances.withheld["BTC-USDT"])
                seen = live.status.frames
                await until(lambda: live.status.frames > seen + 100)
                exchange.disturbances.set("refuse", "2")
                for connection in list(exchange.clients):
                    connection.transport.abort()
                await until(lambda: live.status.connections == 2 and live.connected)
                seen = live.status.frames
                await until(lambda: live.status.frames > seen + 100)


@pytest.mark.timeout(120)
def test_what_a_session_lost_was_not_sent_or_missed_is_told_apart(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path / "home")
    with start_broker(tmp_path / "broker") as broker:
        asyncio.run(_trouble(broker.settings))
        drain(driver.lake, broker.settings, "binance", Kind.TRADES)
    driver.tick()
    missing: dict[str, int] = defaultdict(int)
    symbols: dict[str, set[str]] = defaultdict(set)
    for gap in recorded_gaps(driver.lake, driver.engine):
        missing[gap.cause] += gap.missing
        symbols[gap.cause].add(gap.symbol)
    assert set(missing) == {"loss", "exchange", "disconnect"}
    assert missing["loss"] == 10
    assert (missing["exchange"], symbols["exchange"]) == (20, {"BTC-USDT"})
    assert symbols["disconnect"] == set(SYMBOLS)

    # The day's condition tells the same: frames that were lost, and a connection that ended.
    now = datetime.now(UTC)
    assess(driver.lake, driver.engine, now.date(), now + timedelta(days=1), Configured())
    conditions: list[Any] = driver.rows(CONDITION_TABLE)
    assert [(c["symbol"], c["condition"]) for c in conditions] == [(s, "degraded") for s in SYMBOLS]
    for condition in conditions:
        told = [condition[name] for name in ("connections", "disconnects", "lost_frames")]
        assert told == [2, 1, 10]
        assert any(
            reason.startswith(f"{condition['missing_ids']} trades missing in ")
            for reason in condition["reasons"]
        )
    assert sum(c["missing_ids"] for c in conditions) == sum(missing.values())
