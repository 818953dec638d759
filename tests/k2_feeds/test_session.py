"""Sessions and feeds against simulated exchanges and the embedded broker."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from k2_feeds.adapter import Liveness
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.kafka.backlog import Backlog
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.kafka.undelivered import Spool
from k2_feeds.live import session as session_module
from k2_feeds.live.feed import Feed, Plan, run_feeds
from k2_feeds.live.liveness import Verdict, Vitals, backoff, judge
from k2_feeds.live.router import FrameRouter
from k2_feeds.live.session import Session
from k2_feeds.simulator.dialects.bitstamp import request_reconnect
from k2_feeds.simulator.server import serve
from k2_feeds.simulator.synthetic import PERPETUALS
from k2_market.errors import SubscriptionRefused
from k2_market.kinds import Kind
from tests.feeds import frames_in, running, sequences, trade_ids, until

SYMBOLS = ("BTC-USDT", "ETH-USDT")


@pytest.fixture
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    with start_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.settings


@pytest.mark.parametrize("exchange", ADAPTERS)
def test_every_trade_reaches_kafka_in_sequence_until_stopped(
    kafka: KafkaSettings, exchange: str
) -> None:
    symbols = PERPETUALS[:2] if exchange == "binance_coinm" else SYMBOLS

    async def scenario() -> dict[str, object]:
        async with serve(rate=200) as simulator:
            feed = Feed(
                Plan(adapter(exchange), Kind.TRADES, symbols, (simulator.endpoint,)), kafka, None
            )
            stop = asyncio.Event()
            async with running(run_feeds([feed], stop=stop)) as task:
                await until(lambda: feed.status["frames"] >= 300)  # type: ignore[operator]
                assert feed.status["connected"] is True
                assert simulator.connections == 1
                stop.set()
                await task
                await until(lambda: simulator.connections == 0)
            return feed.status

    status = asyncio.run(scenario())
    table = frames_in(kafka, exchange)
    assert table.num_rows == status["acknowledged"] == status["frames"]
    (numbers,) = sequences(table)
    assert numbers == list(range(table.num_rows))
    assert set(table["origin"].to_pylist()) == {"live"}
    ids = trade_ids(adapter(exchange), table)
    assert len(ids) == len(SYMBOLS)
    for of_symbol in ids.values():
        first = of_symbol[0]
        assert of_symbol == list(range(first, first + len(of_symbol)))


def test_it_connects_again_when_the_exchange_is_back(kafka: KafkaSettings) -> None:
    async def scenario() -> None:
        async with serve(rate=100) as simulator:
            port = int(simulator.endpoint.rpartition(":")[2])
            feed = Feed(
                Plan(adapter("kraken"), Kind.TRADES, SYMBOLS, (simulator.endpoint,)), kafka, None
            )
            task = asyncio.create_task(run_feeds([feed], stop=(stop := asyncio.Event())))
            await until(lambda: feed.status["frames"] >= 20)  # type: ignore[operator]
        await until(lambda: feed.status["connected"] is False)
        before = feed.status["frames"]
        async with serve(port=port, rate=100):
            await until(lambda: feed.status["frames"] >= before + 20)  # type: ignore[operator]
            stop.set()
            await task
        assert feed.status["connections"] == 2
        assert "Connection" in str(feed.status["last_error"])

    asyncio.run(scenario())
    counted = sequences(frames_in(kafka, "kraken"))
    assert len(counted) == 2
    assert all(numbers == list(range(len(numbers))) for numbers in counted)


def test_a_refused_symbol_is_reported_while_the_others_go_on(kafka: KafkaSettings) -> None:
    async def scenario() -> dict[str, object]:
        async with serve(rate=100) as simulator:
            plan = Plan(
                adapter("kraken"), Kind.TRADES, ("FOO-USD", "BTC-USD"), (simulator.endpoint,)
            )
            feed = Feed(plan, kafka, None)
            async with running(run_feeds([feed], stop=asyncio.Event())):
                await until(lambda: feed.status["connected"] is True)
                await until(lambda: feed.status["frames"] >= 20)  # type: ignore[operator]
                return feed.status

    status = asyncio.run(scenario())
    assert status["refused"] == {"FOO/USD": "Currency pair not supported FOO/USD"}
    assert status["failure"] is None


def test_a_feed_that_dies_does_not_take_the_others_with_it(kafka: KafkaSettings) -> None:
    async def scenario() -> None:
        async with serve(rate=100) as simulator:
            dead = Feed(
                Plan(adapter("kraken"), Kind.TRADES, ("FOO-USD",), (simulator.endpoint,)),
                kafka,
                None,
            )
            alive = Feed(
                Plan(adapter("binance"), Kind.TRADES, SYMBOLS, (simulator.endpoint,)), kafka, None
            )
            stop = asyncio.Event()
            async with running(run_feeds([dead, alive], stop=stop)) as task:
                await until(lambda: dead.failure is not None)
                seen = alive.status["frames"]
                await until(lambda: alive.status["frames"] > seen)  # type: ignore[operator]
                stop.set()
                await task
            assert "FOO/USD" in str(dead.status["failure"])
            with pytest.raises(SubscriptionRefused, match="refused every subscription of FOO-USD"):
                await run_feeds([Feed(dead.plan, kafka, None)], stop=asyncio.Event())

    asyncio.run(scenario())


def test_frames_wait_for_kafka_and_none_is_lost(kafka: KafkaSettings) -> None:
    async def scenario() -> int:
        committed: dict[int, int] = {}
        venue = adapter("binance")
        backlog = Backlog(lambda: committed, bound=200)
        producer = FrameProducer(kafka, "binance", Kind.TRADES, backlog=backlog)
        async with serve(rate=400) as simulator:
            live = Session(FrameRouter(venue, Kind.TRADES, producer), SYMBOLS, [simulator.endpoint])
            async with running(live.run()):
                await until(lambda: live.status.waits > 0)
                held = live.status.frames
                await until(lambda: live.status.waits > 10)
                assert live.status.frames <= held + 20
                committed.update(dict.fromkeys(range(4), 10**9))
                await until(lambda: live.status.frames > held + 60)
        producer.flush()
        return live.status.connections

    assert asyncio.run(scenario()) == 1
    for ids in trade_ids(adapter("binance"), frames_in(kafka, "binance")).values():
        assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_a_connection_is_replaced_with_overlap_before_the_exchange_closes_it(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_OVERLAP_S", 0.3)
    venue: Any = dataclasses.replace(adapter("binance"), liveness=Liveness(None, 2.0))  # type: ignore[type-var]

    async def scenario() -> None:
        async with serve(rate=100) as simulator:
            with FrameProducer(kafka, "binance", Kind.TRADES) as producer:
                live = Session(
                    FrameRouter(venue, Kind.TRADES, producer), SYMBOLS, [simulator.endpoint]
                )
                async with running(live.run()):
                    await until(lambda: simulator.connections == 2)
                    await until(lambda: live.status.connections == 2)
                    await until(lambda: simulator.connections == 1)
                    assert live.connected
                assert live.status.last_error is None

    asyncio.run(scenario())
    table = frames_in(kafka, "binance")
    assert len(sequences(table)) == 2
    for ids in trade_ids(venue, table).values():
        assert len(ids) > len(set(ids))
        assert set(ids) == set(range(min(ids), max(ids) + 1))


@asynccontextmanager
async def _exchange_that_says(frames: list[str]) -> AsyncIterator[str]:
    async def attend(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)
        await connection.wait_closed()

    async with serve_websockets(attend, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        ([], "kraken has not answered the subscription of BTC/USD, ETH/USD"),
        (
            [
                '{"method":"subscribe","success":true,"result":{"symbol":"BTC/USD"}}',
                '{"method":"subscribe","success":true,"result":{"symbol":"ETH/USD"}}',
            ],
            r"kraken has sent nothing for \d s",
        ),
    ],
    ids=["unanswered", "silent"],
)
def test_a_connection_without_a_sign_of_life_is_given_up(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch, frames: list[str], error: str
) -> None:
    monkeypatch.setattr("k2_feeds.live.liveness.ANSWERS_WITHIN_S", 0.2)
    venue: Any = dataclasses.replace(adapter("kraken"), liveness=Liveness(1.0, None))  # type: ignore[type-var]

    async def scenario() -> str | None:
        async with _exchange_that_says(frames) as endpoint:
            with FrameProducer(kafka, "kraken", Kind.TRADES) as producer:
                live = Session(
                    FrameRouter(venue, Kind.TRADES, producer), ("BTC-USD", "ETH-USD"), [endpoint]
                )
                async with running(live.run()):
                    await until(lambda: live.status.connections >= 2)
                    return live.status.last_error

    assert re.fullmatch(f"Disconnected: {error}", asyncio.run(scenario()) or "")


@contextmanager
def _stopped(broker: EmbeddedBroker) -> Iterator[None]:
    """Kafka takes connections and answers nothing, as one that hangs or that a network hides."""
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)


def test_frames_wait_out_an_outage_of_kafka_and_the_wait_is_told(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2_feeds.kafka.lasting._STALLED_AFTER_S", 0.5)

    async def scenario(broker: EmbeddedBroker) -> dict[str, object]:
        async with serve(rate=200) as simulator:
            plan = Plan(adapter("binance"), Kind.TRADES, SYMBOLS, (simulator.endpoint,))
            feed = Feed(plan, broker.settings, None)
            async with running(run_feeds([feed], stop=(stop := asyncio.Event()))) as task:
                await until(lambda: feed.status["acknowledged"] > 50)  # type: ignore[operator]
                with _stopped(broker):
                    await until(lambda: feed.status["trouble"] is not None)
                    await until(lambda: feed.status["queued"] > 300)  # type: ignore[operator]
                await until(lambda: feed.status["trouble"] is None)
                stop.set()
                await task
            return feed.status

    with start_broker(tmp_path_factory.mktemp("broker")) as broker:
        status = asyncio.run(scenario(broker))
        table = frames_in(broker.settings, "binance")
    assert (status["connections"], status["outages"], status["queued"]) == (1, 0, 0)
    assert sequences(table) == [list(range(int(str(status["frames"]))))]


def test_what_kafka_does_not_take_before_the_end_is_produced_first_at_the_next_start(
    tmp_path: Path,
) -> None:
    async def scenario(broker: EmbeddedBroker, *, kafka_goes: bool) -> int:
        async with serve(rate=200) as simulator:
            plan = Plan(adapter("kraken"), Kind.TRADES, SYMBOLS, (simulator.endpoint,))
            feed = Feed(plan, broker.settings, None, home=tmp_path)
            task = asyncio.create_task(feed.run(drain_s=0.5 if kafka_goes else 10))
            await until(lambda: feed.status["acknowledged"] > 50)  # type: ignore[operator]
            if kafka_goes:
                before = int(str(feed.status["frames"]))
                broker.stop()
                await until(lambda: int(str(feed.status["frames"])) > before + 100)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return int(str(feed.status["frames"]))

    spool = Spool(tmp_path, raw_topic(Kind.TRADES, "kraken"))
    with start_broker(tmp_path / "one") as broker:
        asyncio.run(scenario(broker, kafka_goes=True))
    (file,) = spool.files()
    kept = spool.read([file])
    assert len(kept) >= 100
    with start_broker(tmp_path / "two") as broker:
        received = asyncio.run(scenario(broker, kafka_goes=False))
        table = frames_in(broker.settings, "kraken")
    assert spool.files() == []
    assert table.num_rows == len(kept) + received
    for partition in range(4):
        part = table.filter(pc.equal(table["kafka_partition"], partition)).sort_by("kafka_offset")
        times = part["received_at"].to_pylist()
        assert times == sorted(times)
    runs = [(len(numbers), numbers[-1] - numbers[0] + 1) for numbers in sequences(table)]
    assert sorted(runs) == sorted([(len(kept), len(kept)), (received, received)])


def test_backoff_doubles_its_bound_to_128_seconds_and_never_ends() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            assert a == 0
            return b

    delays = list(itertools.islice(backoff(Highest()), 12))
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 128, 128, 128, 128]
    jittered = list(itertools.islice(backoff(random.Random(1)), 1000))
    assert 0 <= min(jittered) < 2
    assert 120 < max(jittered) <= 128


@given(
    silence=st.floats(0, 100),
    age=st.floats(0, 100_000),
    unanswered=st.integers(0, 3),
    blocked=st.booleans(),
)
def test_a_verdict_follows_from_silence_answers_and_age(
    silence: float, age: float, unanswered: int, blocked: bool
) -> None:
    now = 1_000_000.0
    vitals = Vitals(now - age, now - silence, unanswered, blocked)
    verdict = judge(vitals, Liveness(silent_after_s=10, rotate_after_s=80_000), now)
    age, silence = now - vitals.opened_at, now - vitals.last_frame_at
    if not blocked and unanswered and age >= 10:
        assert verdict is Verdict.UNANSWERED
    elif not blocked and silence >= 10:
        assert verdict is Verdict.STALE
    elif age >= 80_000:
        assert verdict is Verdict.ROTATE
    else:
        assert verdict is Verdict.KEEP
    quiet = judge(Vitals(0, 0, 0, blocked), Liveness(None, None), time.monotonic())
    assert quiet is Verdict.KEEP


@pytest.mark.parametrize(
    ("exchange", "frame"),
    [("bitstamp", request_reconnect()), ("binance", '{"e":"serverShutdown","E":1770123456789}')],
)
def test_a_connection_that_the_exchange_will_close_is_replaced_before(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch, exchange: str, frame: str
) -> None:
    monkeypatch.setattr(session_module, "_OVERLAP_S", 0.3)
    monkeypatch.setattr("k2_feeds.live.liveness.SETTLED_AFTER_S", 0.5)

    async def scenario() -> None:
        async with serve(rate=100) as simulator:
            with FrameProducer(kafka, exchange, Kind.TRADES) as producer:
                router = FrameRouter(adapter(exchange), Kind.TRADES, producer)
                live = Session(router, SYMBOLS, [simulator.endpoint])
                async with running(live.run()):
                    await until(lambda: live.connected)
                    (first,) = simulator.exchanges[exchange].clients
                    await first.send(frame)
                    await until(lambda: simulator.connections == 2)
                    await until(lambda: simulator.connections == 1)
                    assert list(simulator.exchanges[exchange].clients) != [first]
                    assert (live.connected, live.status.connections) == (True, 2)
                assert live.status.last_error is None

    asyncio.run(scenario())
    table = frames_in(kafka, exchange)
    for ids in trade_ids(adapter(exchange), table).values():
        assert set(ids) == set(range(min(ids), max(ids) + 1))


def test_a_connection_that_is_always_to_be_replaced_lives_a_while() -> None:
    always = Vitals(opened_at=0, last_frame_at=0, unanswered=0, blocked=False, closing=True)
    assert judge(always, Liveness(None, None), 2.9) is Verdict.KEEP
    assert judge(always, Liveness(None, None), 3.0) is Verdict.ROTATE


def test_an_unknown_product_is_reported_while_the_others_go_on(kafka: KafkaSettings) -> None:
    async def scenario() -> dict[str, object]:
        async with serve(rate=100) as simulator:
            plan = Plan(
                adapter("coinbase"),
                Kind.TRADES,
                ("FOO-USD", "BTC-USD", "ETH-USD"),
                (simulator.endpoint,),
            )
            feed = Feed(plan, kafka, None)
            async with running(run_feeds([feed], stop=asyncio.Event())):
                await until(lambda: feed.status["connected"] is True)
                await until(lambda: feed.status["frames"] >= 20)  # type: ignore[operator]
                return feed.status

    status = asyncio.run(scenario())
    assert status["refused"] == {"FOO-USD": "FOO-USD is not a valid product"}
    assert status["failure"] is None
