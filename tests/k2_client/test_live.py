"""Live rows from a real WebSocket server that says what a test wrote down, and hangs up."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec
import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from k2_client import (
    K2,
    BadAnswer,
    Candles,
    ClientError,
    Forbidden,
    InvalidKey,
    LiveOff,
    NoAnswer,
    Place,
    Quotes,
    RateLimited,
    Trades,
    UnknownName,
)
from k2_client.live import Again
from tests.k2_api.lake_of_trades import Made, row_of
from tests.k2_client.scripted import KEY, rows, scripted

TRADES = Place("trades", "binance", "BTC-USDT")


def trades(*numbers: int, cursor: str | None, place: Place = TRADES) -> str:
    made = [row_of(Made(n, n, symbol=place.symbol)) for n in numbers]
    head = {"type": place.channel, **place._asdict(), "cursor": cursor}
    return msgspec.json.encode({**head, "data": made}).decode()


def subscribed(place: Place = TRADES, cursor: str | None = None) -> str:
    return json.dumps({"type": "subscribed", **place._asdict(), "cursor": cursor})


@dataclass(frozen=True)
class Turn:
    """One connection: what is said once so many wishes came, and how it ends."""

    says: Sequence[str] = ()
    wishes: int = 1
    close: int = 1001
    reason: str = ""
    refuse: tuple[int, str, str] | None = None


@dataclass
class Heard:
    wishes: list[list[dict[str, Any]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@contextmanager
def hub(*turns: Turn) -> Iterator[tuple[str, Heard]]:
    """The address; a connection for each turn, the last one again and again."""
    heard = Heard()

    def turn() -> Turn:
        return turns[min(len(heard.keys), len(turns)) - 1]

    def admit(connection: ServerConnection, request: Request) -> Response | None:
        heard.keys.append(request.headers.get("X-API-Key"))
        if (refuse := turn().refuse) is None:
            return None
        status, code, wait = refuse
        told = {"status": status, "code": code, "detail": "because. Do this."}
        response = connection.respond(status, json.dumps(told))
        response.headers["Retry-After"] = wait
        return response

    def talk(connection: ServerConnection) -> None:
        now = turn()
        heard.wishes.append([json.loads(connection.recv()) for _ in range(now.wishes)])
        for text in now.says:
            connection.send(text)
        connection.close(now.close, now.reason)

    with serve(talk, "127.0.0.1", 0, process_request=admit) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}", heard
        finally:
            server.shutdown()
            thread.join()


TWICE = (
    Turn([subscribed(), trades(1, 2, cursor="a"), trades(3, cursor="b")]),
    Turn([subscribed(), trades(4, cursor="c")]),
)


def numbers(found: Sequence[object]) -> list[str]:
    return [t.trade_id for m in found if isinstance(m, Trades) for t in m.rows]


def test_a_lost_connection_is_opened_again_behind_the_last_message() -> None:
    with hub(*TWICE) as (address, heard), K2(address, KEY) as k2:
        live = k2.live("BTC-USDT", "binance")

        async def read() -> list[object]:
            found: list[object] = []
            async for message in live:
                found.append(message)
                if len(found) == 3:
                    break
            return found

        found = asyncio.run(read())
        assert numbers(found) == ["1", "2", "3", "4"]
        assert [w[0].get("cursor") for w in heard.wishes] == [None, "b"]
        assert heard.wishes[0] == [{"op": "subscribe", **TRADES._asdict()}]
        assert heard.keys == [KEY, KEY]
        assert live.cursors == {TRADES: "c"}


def test_what_came_from_an_instant_on_is_asked_for_until_something_came() -> None:
    turns = (Turn(), Turn([trades(1, cursor="a")]), TWICE[1])
    with hub(*turns) as (address, heard), K2(address) as k2:
        live = k2.live("BTC-USDT", "binance", start="2024-08-08")
        assert numbers(list(islice(live, 2))) == ["1", "4"]
        told = [{k: w.get(k) for k in ("start", "cursor")} for [w] in heard.wishes]
    assert told == [{"start": "2024-08-08", "cursor": None}] * 2 + [{"start": None, "cursor": "a"}]


def test_the_same_without_a_loop() -> None:
    with hub(*TWICE) as (address, heard), K2(address, KEY) as k2:
        found = list(islice(k2.live("BTC-USDT", "binance", cursors={TRADES: "z"}), 3))
        assert numbers(found) == ["1", "2", "3", "4"]
        assert found[0].rows[0].price == Decimal("61234.50000000")
        assert [w[0]["cursor"] for w in heard.wishes] == ["z", "b"]


def test_each_subscription_goes_on_from_its_own_place_in_k2s_spelling() -> None:
    bitcoin, ether = Place("trades", "kraken", "BTC-USD"), Place("trades", "kraken", "ETH-USD")
    first = [subscribed(bitcoin), trades(1, cursor="a", place=bitcoin), subscribed(ether, "s")]
    last = [trades(2, cursor="b", place=ether), trades(3, cursor="c", place=bitcoin)]
    turns = Turn(first, wishes=2), Turn(last, wishes=2)
    with hub(*turns) as (address, heard), K2(address) as k2:
        found = list(islice(k2.live(["XBT/USD", "ETH/USD"], "kraken", "trades"), 3))
        assert numbers(found) == ["1", "2", "3"]
        assert [w["symbol"] for w in heard.wishes[0]] == ["XBT/USD", "ETH/USD"]
        assert [(w["symbol"], w["cursor"]) for w in heard.wishes[1]] == [
            ("BTC-USD", "a"),
            ("ETH-USD", "s"),
        ]


def test_quotes_and_candles_are_messages_of_their_own_and_strangers_are_passed_over() -> None:
    said = [
        '{"type":"weather","data":"fine"}',
        '{"type":"pong"}',
        '{"type":"quotes","channel":"quotes","exchange":"b","symbol":"s","data":[],"cursor":"1"}',
        '{"type":"ohlcv","channel":"ohlcv.1m","exchange":"b","symbol":"s","data":[],"cursor":"2"}',
    ]
    with hub(Turn(said, wishes=2)) as (address, _), K2(address) as k2:
        found = list(islice(k2.live("s", "b", ["quotes", "ohlcv.1m"]), 2))
    assert [type(m) for m in found] == [Quotes, Candles]
    assert found[1].channel == "ohlcv.1m"


def test_a_reader_that_was_too_slow_goes_on_where_it_was() -> None:
    slow = Turn([subscribed(), trades(1, cursor="a")], close=1013, reason="too_slow")
    with hub(slow, TWICE[1]) as (address, heard), K2(address) as k2:
        assert numbers(list(islice(k2.live("BTC-USDT", "binance"), 2))) == ["1", "4"]
        assert heard.wishes[1][0]["cursor"] == "a"


REFUSED = '{"type":"error","code":"unknown_symbol","detail":"no X. Known: Y."}'


@pytest.mark.parametrize(
    ("turn", "kind", "told"),
    [
        (Turn([REFUSED]), UnknownName, "no X. Known: Y"),
        (Turn(refuse=(401, "invalid_key", "")), InvalidKey, "because"),
        (Turn(['{"type":"error","code":"live_off","detail":"no Kafka."}']), LiveOff, "no Kafka"),
        (Turn(close=1008, reason="the key was revoked"), Forbidden, "the key was revoked"),
        (Turn(['{"type":"trades"}']), BadAnswer, "not one that this client knows"),
    ],
)
def test_what_connecting_again_cannot_help_is_raised(
    turn: Turn, kind: type[ClientError], told: str
) -> None:
    with hub(turn) as (address, heard), K2(address) as k2:
        with pytest.raises(kind, match=told):
            next(iter(k2.live("X", "binance")))
        assert len(heard.keys) == 1


def test_a_server_that_speaks_no_websocket_is_said_to_be_none() -> None:
    with scripted(rows()) as (address, _), K2(address) as k2:
        messages = iter(k2.live("BTC-USDT", "binance"))
        with pytest.raises(BadAnswer, match="does not speak WebSocket"):
            next(messages)


def test_a_server_that_asks_for_longer_than_the_reader_has_is_told_at_once() -> None:
    limited = Turn(refuse=(429, "rate_limited", "60"))
    with hub(limited) as (address, heard), K2(address) as k2:
        with pytest.raises(RateLimited, match="because"):
            next(iter(k2.live("BTC-USDT", "binance", reconnect_for_s=30)))
        assert len(heard.keys) == 1


def test_where_nothing_listens_it_ends_after_the_time_that_it_was_given() -> None:
    with K2("http://127.0.0.1:9") as k2, pytest.raises(NoAnswer, match=r"ws://127.0.0.1:9/v1/live"):
        next(iter(k2.live("BTC-USDT", "binance", reconnect_for_s=0.3)))


def test_pauses_grow_until_something_comes_and_a_long_connection_was_a_good_one() -> None:
    now = 0.0
    again = Again(60, lambda: now)
    error = NoAnswer("gone.")

    def bounds(tries: int) -> list[float]:
        return [again.pause_s(error) for _ in range(tries)]

    first = bounds(7)
    assert all(p <= b for p, b in zip(first, [0.25, 0.5, 1, 2, 4, 8, 10], strict=True))
    again.worked()
    assert again.pause_s(error) <= 0.25
    again.opened()
    now = 59.0
    assert again.pause_s(error) <= 0.25
    now = 125.0
    with pytest.raises(NoAnswer):
        again.pause_s(error)
