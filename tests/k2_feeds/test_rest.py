"""The REST client against a real HTTP server, with a clock that moves when it waits."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_feeds.rest import ATTEMPTS, REST_APIS, Budget, RestClient, http_endpoint
from k2_market.errors import ExchangeUnavailable, RequestRefused, UnknownName
from k2_market.exchanges import EXCHANGES


@dataclass
class Exchange:
    """Gives the answers in turn, the last one again and again; keeps what was asked."""

    answers: list[tuple[int, dict[str, str], bytes]]
    asked: list[str] = field(default_factory=list)
    headers: list[str | None] = field(default_factory=list)
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@dataclass
class Clock:
    now: float = 1_000.0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    served = Exchange([(200, {}, b"[]")])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = served.answers[min(len(served.asked), len(served.answers) - 1)]
            served.asked.append(self.path)
            served.headers.append(self.headers.get("X-MBX-APIKEY"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    served.port = server.server_port
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def _client(exchange: Exchange, clock: Clock, **more: object) -> RestClient:
    return RestClient("binance", exchange.endpoint, clock=clock, sleep=clock.sleep, **more)  # type: ignore[arg-type]


def test_the_answer_comes_back_byte_for_byte_and_the_question_as_it_was_put(
    exchange: Exchange,
) -> None:
    exchange.answers = [(200, {}, b'[{"price": 1.10}]')]
    with _client(exchange, Clock(), headers={"X-MBX-APIKEY": "k"}) as client:
        assert client.get("/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": 7}) == (
            b'[{"price": 1.10}]'
        )
    assert exchange.asked == ["/api/v3/aggTrades?symbol=BTCUSDT&fromId=7"]
    assert exchange.headers == ["k"]


@pytest.mark.parametrize("status", [429, 418])
def test_too_many_is_waited_out_as_long_as_the_exchange_says(
    exchange: Exchange, status: int
) -> None:
    exchange.answers = [(status, {"Retry-After": "17"}, b"slow down"), (200, {}, b"ok")]
    clock = Clock()
    with _client(exchange, clock) as client:
        assert client.get("/x") == b"ok"
    assert clock.waits == [17.0]


def test_a_ban_longer_than_anyone_would_wait_is_told_at_once(exchange: Exchange) -> None:
    exchange.answers = [(418, {"Retry-After": "86400"}, b"banned")]
    clock = Clock()
    with _client(exchange, clock) as client, pytest.raises(ExchangeUnavailable, match="86400 s"):
        client.get("/x")
    assert clock.waits == []
    assert len(exchange.asked) == 1


def test_a_server_in_trouble_is_asked_again_with_growing_random_delays(exchange: Exchange) -> None:
    exchange.answers = [(503, {}, b"maintenance")]
    clock = Clock()
    with _client(exchange, clock) as client, pytest.raises(ExchangeUnavailable, match="503"):
        client.get("/x")
    assert len(exchange.asked) == ATTEMPTS
    assert all(0 <= wait <= 2**i for i, wait in enumerate(clock.waits))


def test_a_refusal_is_told_in_the_exchanges_words_and_not_repeated(exchange: Exchange) -> None:
    exchange.answers = [(400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')]
    with _client(exchange, Clock()) as client, pytest.raises(RequestRefused, match="-1121"):
        client.get("/x", {"symbol": "NOPE"})
    assert len(exchange.asked) == 1


def test_nobody_listening_is_an_error_of_ours_after_the_last_attempt() -> None:
    clock = Clock()
    with (
        RestClient("kraken", "http://127.0.0.1:9", clock=clock, sleep=clock.sleep) as client,
        pytest.raises(ExchangeUnavailable, match="ConnectError"),
    ):
        client.get("/0/public/Trades")


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(exchange: Exchange) -> None:
    clock = Clock()
    context = ssl.create_default_context()
    with (
        RestClient(
            "kraken",
            f"https://127.0.0.1:{exchange.port}",
            trust=context,
            clock=clock,
            sleep=clock.sleep,
        ) as client,
        pytest.raises(ExchangeUnavailable),
    ):
        client.get("/x")
    assert exchange.asked == []


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(60, 6_000))
def test_the_weight_of_any_minute_stays_within_the_budget(
    weights: list[int], per_minute: int
) -> None:
    now, spent = 0.0, list[tuple[float, int]]()
    budget = Budget(per_minute, now)
    for weight in weights:
        now += budget.spend(weight, now)
        spent.append((now, weight))
    for start, _ in spent:
        within = sum(w for at, w in spent if start <= at < start + 60)
        # A quiet time has saved ten seconds' worth, and the last request may end beyond it.
        assert within <= per_minute * (70 / 60) + max(weights) + 1


def test_the_budget_is_half_of_what_the_exchange_allows_and_every_exchange_has_one() -> None:
    assert set(REST_APIS) == set(EXCHANGES)
    with pytest.raises(UnknownName, match="nowhere"):
        RestClient("nowhere")


def test_a_simulators_websocket_address_is_its_http_address_too() -> None:
    assert http_endpoint("ws://127.0.0.1:9000") == "http://127.0.0.1:9000"
    assert http_endpoint("wss://example.org") == "https://example.org"
    assert http_endpoint("http://127.0.0.1:9000") == "http://127.0.0.1:9000"
