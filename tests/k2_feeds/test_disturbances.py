"""Sessions with exchanges that do wrong: over a real socket, into a real broker."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from k2_feeds.adapter import Limits, Liveness
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.live import connection as connection_module
from k2_feeds.live.feed import Feed, Plan, run_feeds
from k2_feeds.live.liveness import LONGEST_ASKED_DELAY_S, asked_delay
from k2_feeds.live.router import FrameRouter
from k2_feeds.live.session import Session, addresses, parted
from k2_feeds.live.tls import from_environment
from k2_feeds.simulator.disturbances import Disturbances, parsed
from k2_feeds.simulator.server import Simulator, serve
from k2_feeds.simulator.synthetic import Fill, SyntheticMarket
from k2_market.errors import UsageError
from k2_market.kinds import Kind
from tests.feeds import frames_in, running, sequences, trade_ids, until
from tests.services import free_port

SYMBOLS = ("BTC-USDT", "ETH-USDT")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    with start_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running.settings


@pytest.fixture
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    with start_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running.settings


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again within a tenth of a second."""
    monkeypatch.setattr("k2_feeds.live.liveness.FIRST_DELAY_S", 0.1)
    monkeypatch.setattr("k2_feeds.live.liveness.LONGEST_DELAY_S", 0.1)


def _frames(feed: Feed) -> int:
    return sum(session.status.frames for session in feed.sessions)


def _plan(exchange: str, simulator: Simulator, symbols: tuple[str, ...] = SYMBOLS) -> Plan:
    return Plan(adapter(exchange), Kind.TRADES, symbols, (simulator.endpoint,))


def _ids(ranges: dict[str, Any], exchange: str) -> dict[str, set[int]]:
    """What the simulator says, by the exchange's symbols."""
    spelt = adapter(exchange).exchange_symbol
    return {
        spelt(symbol): {n for first, last in ids.ranges for n in range(first, last + 1)}
        for symbol, ids in ranges.items()
    }


@pytest.mark.parametrize("exchange", ["binance", "kraken", "coinbase", "bitstamp"])
def test_all_that_an_exchange_sent_before_its_disconnects_is_in_kafka(
    kafka: KafkaSettings, impatient: None, exchange: str
) -> None:
    async def scenario() -> tuple[dict[str, set[int]], int]:
        async with serve(symbols=SYMBOLS, only=[exchange], rate=300) as simulator:
            simulated = simulator.exchanges[exchange]
            simulated.disturbances.set("disconnect", "0.7")
            feed = Feed(_plan(exchange, simulator), kafka, None)
            async with running(run_feeds([feed], stop=(stop := asyncio.Event()))) as task:
                await until(lambda: simulated.disconnects >= 4)
                simulator.rate = 0
                await asyncio.sleep(0.3)
                stop.set()
                await task
            return _ids(simulated.sent, exchange), feed.sessions[0].status.connections

    sent, connections = asyncio.run(scenario())
    assert connections >= 5
    table = frames_in(kafka, exchange)
    found = trade_ids(adapter(exchange), table)
    assert sum(map(len, sent.values())) > 300
    for symbol, ids in sent.items():
        assert ids - set(found[symbol]) == set()
    assert len(sequences(table)) >= 5
    assert all(numbers == list(range(len(numbers))) for numbers in sequences(table))


def test_a_connection_that_is_cut_is_made_again(kafka: KafkaSettings, impatient: None) -> None:
    async def scenario() -> None:
        async with serve(symbols=SYMBOLS, rate=100) as simulator:
            wrong = simulator.exchanges["kraken"].disturbances
            wrong.set("abort", "1")
            wrong.set("disconnect", "0.5")
            feed = Feed(_plan("kraken", simulator), kafka, None)
            async with running(feed.run()):
                await until(lambda: feed.sessions[0].status.connections >= 4)
                wrong.set("disconnect", "0")
                await until(lambda: bool(feed.status["connected"]))

    asyncio.run(scenario())


def test_silence_of_a_whole_exchange_is_death_and_silence_of_trades_is_not(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    venue: Any = dataclasses.replace(adapter("kraken"), liveness=Liveness(2.2, None))  # type: ignore[type-var]

    async def scenario() -> None:
        async with serve(symbols=SYMBOLS, rate=0) as simulator:
            plan = dataclasses.replace(_plan("kraken", simulator), adapter=venue)
            feed = Feed(plan, kafka, None)
            status = feed.sessions[0].status
            async with running(feed.run()):
                await until(lambda: bool(feed.status["connected"]))
                began = time.monotonic()
                await until(lambda: status.frames >= 7)
                assert (time.monotonic() - began, status.connections) > (2.2, 0)
                assert status.connections == 1
                simulator.exchanges["kraken"].disturbances.set("silent", "1")
                await until(lambda: status.last_error is not None)
                assert "Disconnected: kraken has sent nothing for " in str(status.last_error)
                simulator.exchanges["kraken"].disturbances.set("silent", "0")
                await until(lambda: status.connections >= 2 and bool(feed.status["connected"]))

    asyncio.run(scenario())


def test_who_does_not_answer_pings_is_dead(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    monkeypatch.setattr(connection_module, "_PING_S", 0.3)

    async def scenario() -> str | None:
        async with _mute_exchange() as endpoint:
            plan = Plan(adapter("binance"), Kind.TRADES, ("BTC-USDT",), (endpoint,))
            feed = Feed(plan, kafka, None)
            async with running(feed.run()):
                await until(lambda: feed.sessions[0].status.connections >= 2)
                return feed.sessions[0].status.last_error

    assert "has not answered a ping in 0 s" in (asyncio.run(scenario()) or "")


@asynccontextmanager
async def _mute_exchange() -> AsyncIterator[str]:
    """Accepts a subscription, and then reads nothing any more."""
    over = asyncio.Event()

    async def attend(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"result":null,"id":1}')
        connection.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        connection.transport.abort()

    async with serve_websockets(attend, "127.0.0.1", 0, ping_interval=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        over.set()


def test_the_next_address_serves_while_the_first_is_dead_and_the_first_when_it_is_back(
    kafka: KafkaSettings, impatient: None
) -> None:
    port = free_port()
    first = f"ws://127.0.0.1:{port}"

    async def scenario() -> None:
        async with serve(symbols=SYMBOLS, rate=100) as second:
            plan = Plan(adapter("coinbase"), Kind.TRADES, SYMBOLS, (first, second.endpoint))
            feed = Feed(plan, kafka, None)
            status = feed.sessions[0].status
            async with running(feed.run()):
                await until(lambda: bool(feed.status["connected"]))
                assert status.url == f"{second.endpoint}/coinbase"
                assert "Connect call failed" in str(status.last_error)
                async with serve(port=port, symbols=SYMBOLS, rate=100) as back:
                    second.exchanges["coinbase"].disturbances.set("refuse", "1000")
                    second.exchanges["coinbase"].disturbances.set("retry_after", "0")
                    second.exchanges["coinbase"].disturbances.set("disconnect", "0.1")
                    await until(lambda: status.url == f"{back.endpoint}/coinbase")
                    await until(lambda: bool(feed.status["connected"]))
                    assert back.connections == 1

    asyncio.run(scenario())


def test_the_exchanges_own_addresses_are_the_documented_ones_with_the_path_of_each() -> None:
    def own(exchange: str) -> list[str]:
        router = FrameRouter(
            adapter(exchange), Kind.TRADES, FrameProducer(away, exchange, Kind.TRADES)
        )
        return addresses(router, SYMBOLS, ())

    away = KafkaSettings("127.0.0.1:1")
    assert own("binance") == [
        "wss://stream.binance.com:9443/stream",
        "wss://stream.binance.com:443/stream",
        "wss://data-stream.binance.vision/stream",
    ]
    for exchange in ADAPTERS:
        assert all(url.startswith("wss://") for url in own(exchange))


def test_more_symbols_than_a_connection_takes_become_several_connections(
    kafka: KafkaSettings,
) -> None:
    venue: Any = dataclasses.replace(adapter("binance"), limits=Limits(2, 5))  # type: ignore[type-var]
    symbols = tuple(f"{base}-USDT" for base in ("BTC", "ETH", "SOL", "XRP", "DOGE"))

    async def scenario() -> None:
        async with serve(symbols=symbols, rate=100) as simulator:
            plan = dataclasses.replace(_plan("binance", simulator, symbols), adapter=venue)
            feed = Feed(plan, kafka, None)
            async with running(run_feeds([feed], stop=(stop := asyncio.Event()))) as task:
                await until(lambda: bool(feed.status["connected"]))
                assert simulator.connections == 3
                await until(lambda: _frames(feed) > 200)
                stop.set()
                await task

    asyncio.run(scenario())
    assert set(trade_ids(venue, frames_in(kafka, "binance"))) == {
        symbol.replace("-", "") for symbol in symbols
    }


@given(count=st.integers(0, 3000), exchange=st.sampled_from(sorted(ADAPTERS)))
def test_no_connection_gets_more_symbols_than_it_may(count: int, exchange: str) -> None:
    symbols = [f"S{number}-USD" for number in range(count)]
    venue = adapter(exchange)
    parts = parted(venue, symbols)
    assert [symbol for part in parts for symbol in part] == symbols
    assert all(0 < len(part) <= (venue.limits.streams or count) for part in parts)


def test_messages_are_sent_no_faster_than_the_exchange_takes_them(kafka: KafkaSettings) -> None:
    venue: Any = dataclasses.replace(adapter("coinbase"), limits=Limits(None, 20))  # type: ignore[type-var]
    symbols = tuple(f"{base}-USDT" for base in ("BTC", "ETH", "SOL", "XRP", "DOGE"))

    async def scenario() -> list[float]:
        times: list[float] = []

        async def attend(connection: ServerConnection) -> None:
            while await connection.recv():
                times.append(time.monotonic())

        async with serve_websockets(attend, "127.0.0.1", 0) as server:
            endpoint = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            feed = Feed(Plan(venue, Kind.TRADES, symbols, (endpoint,)), kafka, None)
            async with running(feed.run()):
                await until(lambda: len(times) >= 5)
        return times

    times = asyncio.run(scenario())
    assert times[-1] - times[0] >= 4 / 20


def test_a_refused_channel_of_bitstamp_is_named_at_once_though_the_refusal_names_none(
    kafka: KafkaSettings,
) -> None:
    async def scenario() -> dict[str, object]:
        async with serve(symbols=SYMBOLS, rate=100) as simulator:
            simulator.exchanges["bitstamp"].disturbances.set("reject", "ETH-USDT")
            feed = Feed(_plan("bitstamp", simulator, (*SYMBOLS[::-1],)), kafka, None)
            began = time.monotonic()
            async with running(feed.run()):
                await until(lambda: bool(feed.status["connected"]))
                assert time.monotonic() - began < 5
                await until(lambda: _frames(feed) > 30)
                return feed.status

    status = asyncio.run(scenario())
    assert status["refused"] == {"live_trades_ethusdt": "Subscription is not possible."}
    assert (status["failure"], status["connections"]) == (None, 1)
    assert set(trade_ids(adapter("bitstamp"), frames_in(kafka, "bitstamp"))) == {"btcusdt"}


def test_after_too_many_requests_it_waits_as_long_as_the_exchange_asks(
    kafka: KafkaSettings, impatient: None
) -> None:
    async def scenario() -> float:
        async with serve(symbols=SYMBOLS, rate=100) as simulator:
            wrong = simulator.exchanges["kraken"].disturbances
            wrong.set("refuse", "1")
            wrong.set("retry_after", "2")
            feed = Feed(_plan("kraken", simulator), kafka, None)
            began = time.monotonic()
            async with running(feed.run()):
                await until(lambda: bool(feed.status["connected"]))
                assert "HTTP 429" in str(feed.status["last_error"])
                return time.monotonic() - began

    assert 2 <= asyncio.run(scenario()) < 8


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("999999999", LONGEST_ASKED_DELAY_S),
        ("soon", 0),
        ("-3", 0),
        (None, 0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(wish: str | None, seconds: int) -> None:
    headers = Headers() if wish is None else Headers({"Retry-After": wish})
    assert asked_delay(InvalidStatus(Response(429, "", headers)), NOW) == seconds
    assert asked_delay(OSError(), NOW) == 0


def test_a_slow_consumer_is_disconnected_and_comes_back(
    kafka: KafkaSettings, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka takes nothing, so the session reads nothing, and the exchange loses patience."""

    async def scenario() -> None:
        async with serve(symbols=SYMBOLS, rate=3000, only=["binance"]) as simulator:
            simulator.exchanges["binance"].disturbances.set("slow", "100000")
            producer = _Reluctant(kafka, "binance", Kind.TRADES)
            router = FrameRouter(adapter("binance"), Kind.TRADES, producer)
            live = Session(router, SYMBOLS, [simulator.endpoint])
            async with running(live.run()):
                await until(lambda: simulator.exchanges["binance"].disconnects >= 1)
                assert live.status.blocked_since_us is not None
                producer.takes = True
                await until(lambda: live.status.connections >= 2 and live.connected)
                await until(lambda: live.status.blocked_since_us is None)
            producer.flush()

    asyncio.run(scenario())


def test_a_connection_whose_frames_wait_for_kafka_is_kept_though_its_pongs_are_not_read(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_PING_S", 0.2)

    async def scenario() -> None:
        async with serve(symbols=SYMBOLS, rate=2000, only=["binance"]) as simulator:
            producer = _Reluctant(kafka, "binance", Kind.TRADES)
            router = FrameRouter(adapter("binance"), Kind.TRADES, producer)
            live = Session(router, SYMBOLS, [simulator.endpoint])
            async with running(live.run()):
                await until(lambda: live.status.blocked_since_us is not None)
                await asyncio.sleep(1.5)
                producer.takes = True
                await until(lambda: live.status.frames > 3000)
                simulator.rate = 0
                await asyncio.sleep(0.3)
            producer.flush()
            assert (live.status.connections, live.status.last_error) == (1, None)
            sent = _ids(simulator.exchanges["binance"].sent, "binance")
            found = trade_ids(adapter("binance"), frames_in(kafka, "binance"))
            assert {symbol: set(ids) for symbol, ids in found.items()} == sent

    asyncio.run(scenario())


class _Reluctant(FrameProducer):
    """Has room for a hundred frames until it is told to take more."""

    takes = False

    def offer(self, *frame: Any) -> bool:
        if not self.takes and len(self._client) + sum(self.acknowledged.values()) >= 100:
            return False
        return super().offer(*frame)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of its own, and a certificate of 127.0.0.1 by it."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True)

    key = ("-newkey", "rsa:2048", "-nodes")
    ca = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")
    openssl(
        *("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30"),
        *("-subj", "/CN=an authority of tests", *ca),
    )
    openssl("req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        *("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-out", "certificate.pem", "-days", "30", "-extfile", "names"),
    )
    return folder


@asynccontextmanager
async def _kraken_over_tls(certificates: Path) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "certificate.pem", certificates / "key.pem")

    async def attend(connection: ServerConnection) -> None:
        async for _ in connection:
            result = {"channel": "trade", "symbol": "BTC/USDT"}
            await connection.send(
                json.dumps({"method": "subscribe", "result": result, "success": True})
            )

    async with serve_websockets(attend, "127.0.0.1", 0, ssl=context) as server:
        yield f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_an_authority_of_ones_own_is_trusted(
    kafka: KafkaSettings, certificates: Path, impatient: None
) -> None:
    async def scenario() -> None:
        async with _kraken_over_tls(certificates) as endpoint:
            plan = Plan(adapter("kraken"), Kind.TRADES, SYMBOLS[:1], (endpoint,))
            tls = from_environment({"K2_CA_FILE": str(certificates / "ca.pem")})
            feed = Feed(plan, kafka, None, tls=tls)
            async with running(feed.run()):
                await until(lambda: bool(feed.status["connected"]))
                assert feed.status["last_error"] is None

    asyncio.run(scenario())


@pytest.mark.parametrize("env", [{}, None])
def test_an_unknown_authority_is_refused_again_and_again_and_the_reason_is_told(
    kafka: KafkaSettings, certificates: Path, impatient: None, env: dict[str, str] | None
) -> None:
    async def scenario() -> None:
        async with _kraken_over_tls(certificates) as endpoint:
            plan = Plan(adapter("kraken"), Kind.TRADES, SYMBOLS[:1], (endpoint,))
            feed = Feed(plan, kafka, None, tls=None if env is None else from_environment(env))
            async with running(feed.run()) as task:
                await until(lambda: feed.status["last_error"] is not None)
                await asyncio.sleep(0.5)
                assert not task.done()
                assert feed.status["connections"] == 0
                told = "was not accepted: unable to get local issuer certificate. If its authority "
                assert feed.status["last_error"] == (
                    f"the certificate of {endpoint}/v2 {told}is your own, name it in K2_CA_FILE"
                )

    asyncio.run(scenario())


def test_a_file_of_authorities_that_is_missing_or_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"K2_CA_FILE: .*ca.pem' cannot be read: No such file"):
        from_environment({"K2_CA_FILE": str(tmp_path / "ca.pem")})
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match=r"K2_CA_FILE: .* holds no certificate in PEM form"):
        from_environment({"K2_CA_FILE": str(tmp_path / "ca.pem")})


@given(
    count=st.integers(0, 60),
    shares=st.tuples(*[st.floats(0, 1)] * 3),
    withheld=st.integers(0, 70),
    skew=st.integers(-10_000, 10_000),
)
def test_a_disturbed_market_withholds_what_was_asked_and_leaves_out_nothing_else(
    count: int, shares: tuple[float, float, float], withheld: int, skew: int
) -> None:
    wrong = Disturbances(*(0.0, False, False), *shares, float(skew))
    wrong.set("withhold", f"BTC-USD:{withheld}")
    market = SyntheticMarket(["BTC-USD"], 0, seed=1)
    orders = market.advance(1_000_000, count)["BTC-USD"]
    shown = [fill for order in wrong.shown("BTC-USD", orders) for fill in order]
    made = [fill for order in orders for fill in order]
    assert shown == [_later(fill, skew) for fill in made[withheld:]]
    assert wrong.withheld["BTC-USD"] == max(0, withheld - len(made))
    frames = [f"frame {fill.trade_id} of many" for fill in made]
    told = wrong.disturb(frames)
    assert set(frames) <= set(told)
    assert len(told) <= 3 * len(frames)
    assert all(any(frame.startswith(text) for frame in frames) for text in told)


def _later(fill: Fill, seconds: int) -> Fill:
    return dataclasses.replace(fill, time_us=fill.time_us + seconds * 1_000_000)


@pytest.mark.parametrize(
    "wrong", ["disconnect=soon", "dance=1", "silent=yes", "withhold=BTC-USD", "refuse=1.5"]
)
def test_a_fault_that_does_not_exist_is_answered_with_those_that_do(wrong: str) -> None:
    ((name, value),) = parsed([wrong])
    with pytest.raises(UsageError, match=f"fault {wrong} was not understood. Faults are disconn"):
        Disturbances().set(name, value)
    with pytest.raises(UsageError, match="was not NAME=VALUE"):
        parsed(["silent"])


def test_faults_are_seen_and_changed_while_the_simulator_runs() -> None:
    async def scenario() -> None:
        async with serve(symbols=SYMBOLS, rate=5) as simulator:
            control = simulator.endpoint.replace("ws://", "http://") + "/control"

            async def ask(query: str) -> Any:
                request = urllib.request.urlopen
                answer = await asyncio.to_thread(request, f"{control}?{query}")
                with answer:
                    return json.load(answer)

            await ask("exchange=kraken&disconnect=5&reject=BTC-USDT&withhold=ETH-USDT:3&rate=40")
            wrong = simulator.exchanges["kraken"].disturbances
            assert (wrong.disconnect_s, wrong.rejected) == (5, {"BTC-USDT"})
            assert simulator.exchanges["binance"].disturbances.disconnect_s == 0
            assert simulator.rate == 40
            state = await ask("silent=1")
            assert {name: e["faults"]["silent"] for name, e in state.items()} == dict.fromkeys(
                simulator.exchanges, True
            )
            assert state["kraken"]["faults"]["withhold"] in ({"ETH-USDT": n} for n in (1, 2, 3))
            with pytest.raises(urllib.error.HTTPError, match="400"):
                await ask("dance=1")

    asyncio.run(scenario())
