"""The simulated exchanges, seen through the adapters of the real ones."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from k2_feeds.adapter import Channel
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.parsing import frames as parsing
from k2_feeds.simulator.server import serve
from k2_feeds.simulator.synthetic import (
    PAIRS,
    PERPETUALS,
    Fill,
    SyntheticMarket,
    SyntheticSymbol,
    quote_after,
)
from k2_market.kinds import Kind
from tests.frames import bronze_rows, frame_table

START_US = 1_790_000_000_000_000


async def _listen(
    exchange: str, symbols: list[str], count: int, rate: float, kind: Kind = Kind.TRADES
) -> list[bytes]:
    venue = adapter(exchange)
    async with (
        serve(symbols=(*PAIRS[:4], *PERPETUALS[:2]), rate=rate) as simulator,
        connect(
            venue.url(symbols, kind, simulator.endpoint), proxy=None, close_timeout=0.2
        ) as socket,
    ):
        for message in venue.subscribe(symbols, kind):
            await socket.send(message)
        return [await socket.recv(decode=False) for _ in range(count)]


async def _talk(path: str, messages: list[dict[str, Any]], count: int) -> list[Any]:
    async with (
        serve(symbols=("BTC-USDT",), rate=200) as simulator,
        connect(simulator.endpoint + path, proxy=None, close_timeout=0.2) as socket,
    ):
        for message in messages:
            await socket.send(json.dumps(message))
        return [json.loads(await socket.recv()) for _ in range(count)]


@pytest.mark.parametrize("exchange", sorted(ADAPTERS))
def test_trades_are_read_by_the_adapter_without_a_gap_in_their_ids(exchange: str) -> None:
    venue = adapter(exchange)
    symbols = list(PERPETUALS[:2] if exchange == "binance_coinm" else PAIRS[:2])
    frames = asyncio.run(_listen(exchange, symbols, 400, rate=400))
    answers = [answer for frame in frames for answer in venue.answers(frame)]
    assert {answer.key for answer in answers if answer.accepted} == venue.awaited(
        symbols, Kind.TRADES
    )
    trades = [frame for frame in frames if venue.classify(frame).channel is Channel.TRADES]
    assert {venue.classify(frame).channel for frame in frames} <= {Channel.TRADES, Channel.CONTROL}
    parser = venue.parsers[Kind.TRADES]
    decoded = [parser.decode(frame) for frame in trades]
    _, _, rows = parser.rows(decoded)
    columns = parser.columns(rows)
    ids, times = defaultdict(list), defaultdict(list)
    names = columns.exchange_symbol.to_pylist()
    for name, sequence, at in zip(
        names, columns.source_sequence.to_pylist(), columns.timestamp.to_pylist(), strict=True
    ):
        ids[name].append(sequence)
        times[name].append(at)
    assert set(ids) == {venue.exchange_symbol(symbol) for symbol in symbols}
    for name in ids:
        assert all(b == a + 1 for a, b in pairwise(ids[name]))
        assert times[name] == sorted(times[name])
        assert len(set(times[name])) < len(times[name])


@pytest.mark.parametrize("exchange", sorted(ADAPTERS))
def test_quotes_are_read_by_the_adapter_and_follow_the_market(exchange: str) -> None:
    venue = adapter(exchange)
    symbols = list(PERPETUALS[:2] if exchange == "binance_coinm" else PAIRS[:2])
    frames = asyncio.run(_listen(exchange, symbols, 60, 400, Kind.QUOTES))
    answers = [answer for frame in frames for answer in venue.answers(frame)]
    assert {answer.key for answer in answers if answer.accepted} == venue.awaited(
        symbols, Kind.QUOTES
    )
    assert {venue.classify(frame).channel for frame in frames} == {Channel.QUOTES, Channel.CONTROL}
    received = [(frame, time.time_ns() // 1000) for frame in frames]
    parsed = parsing.parse(exchange, Kind.QUOTES, bronze_rows(frame_table(received)))
    assert parsed.rejected.to_pylist() == []
    quotes = defaultdict(list)
    for row in parsed.rows.to_pylist():
        quotes[row["symbol"]].append(row)
    assert set(quotes) == set(symbols)
    for rows in quotes.values():
        assert len({row["quote_id"] for row in rows}) == len(rows) > 5
        assert all(a["source_sequence"] < b["source_sequence"] for a, b in pairwise(rows))
        assert all(a["timestamp"] <= b["timestamp"] for a, b in pairwise(rows))
        # A walk moves by less than a thousandth in so short a time, and quotes are a tick wide.
        first = rows[0]["ask_price"]
        assert all(0 < row["ask_price"] - row["bid_price"] < first / 1000 for row in rows)
        assert all(abs(row["ask_price"] / first - 1) < 0.001 for row in rows)


def test_a_new_subscriber_of_quotes_gets_the_newest_first() -> None:
    async def late(exchange: str) -> list[bytes]:
        venue = adapter(exchange)
        async with serve(symbols=("BTC-USDT",), rate=20) as simulator:
            # The market trades on its own; there is nothing to be told by.
            while not simulator.exchanges[exchange].history.get("BTC-USDT"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            url = venue.url(["BTC-USDT"], Kind.QUOTES, simulator.endpoint)
            async with connect(url, proxy=None) as socket:
                await socket.send(venue.subscribe(["BTC-USDT"], Kind.QUOTES)[0])
                return [await socket.recv(decode=False) for _ in range(3)]

    _, _, snapshot = asyncio.run(late("kraken"))
    assert json.loads(snapshot)["type"] == "snapshot"
    _, first, second = map(json.loads, asyncio.run(late("coinbase")))
    assert [first["type"], second["type"]] == ["ticker", "ticker"]
    assert first["sequence"] < second["sequence"]


def test_a_connection_gets_only_the_kind_that_it_asked_for() -> None:
    messages = [
        {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@bookTicker"], "id": 1},
        {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 2},
    ]
    frames = asyncio.run(_talk("/public/ws", messages, 20))
    assert [frame["id"] for frame in frames if "id" in frame] == [1, 2]
    last = frames.index({"result": None, "id": 2})
    assert {frame["e"] for frame in frames[last + 1 :]} == {"bookTicker"}


@given(
    price=st.integers(1, 10**9),
    quantity=st.integers(1, 10**9),
    scale=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    buy=st.booleans(),
    trade_id=st.integers(0, 2**62),
)
def test_a_quote_is_a_tick_wide_around_its_trade(
    price: int, quantity: int, scale: tuple[int, int], buy: bool, trade_id: int
) -> None:
    prices, quantities = scale
    traded = Decimal(price).scaleb(-prices)
    fill = Fill(trade_id, START_US, traded, Decimal(quantity).scaleb(-quantities), buy, True)
    quote = quote_after(fill)
    assert quote == quote_after(fill)
    assert quote.ask_price - quote.bid_price == Decimal(1).scaleb(-prices)
    assert traded in (quote.bid_price, quote.ask_price)
    assert min(quote.bid_price, quote.bid_quantity, quote.ask_quantity) > 0


def test_kraken_greets_and_fills_several_trades_in_a_frame() -> None:
    frames = [json.loads(f) for f in asyncio.run(_listen("kraken", ["BTC-USDT"], 60, rate=100))]
    assert frames[0]["channel"] == "status"
    assert frames[0]["data"][0]["connection_id"] > 2**63
    fills = [len(f["data"]) for f in frames if f.get("channel") == "trade"]
    assert max(fills) > 1
    row = next(f for f in frames if f.get("channel") == "trade")["data"][0]
    assert isinstance(row["price"], float)
    assert row["symbol"] == "BTC/USDT"


def test_kraken_beats_every_second() -> None:
    frames = asyncio.run(_listen("kraken", [], 3, rate=1))
    assert [json.loads(f)["channel"] for f in frames] == ["status", "heartbeat", "heartbeat"]


def test_a_new_kraken_subscriber_gets_the_newest_trades_first() -> None:
    async def late() -> Any:
        async with serve(symbols=("BTC-USDT",), rate=500) as simulator:
            exchange = simulator.exchanges["kraken"].dialect
            # The market trades on its own; there is nothing to be told by.
            while len(getattr(exchange, "_recent", {}).get("BTC-USDT", ())) < 50:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            async with connect(simulator.endpoint + "/v2", proxy=None) as socket:
                await socket.send(adapter("kraken").subscribe(["BTC-USDT"], Kind.TRADES)[0])
                return [json.loads(await socket.recv()) for _ in range(3)]

    _, answer, snapshot = asyncio.run(late())
    assert answer["success"] is True
    assert snapshot["type"] == "snapshot"
    assert len(snapshot["data"]) == 50


def test_kraken_refuses_an_unknown_pair_and_serves_the_others() -> None:
    params = {"channel": "trade", "symbol": ["FOO/USD", "BTC/USDT"]}
    frames = asyncio.run(_talk("/v2", [{"method": "subscribe", "params": params}], 8))
    answers = [f for f in frames if f.get("method") == "subscribe"]
    assert [a["success"] for a in answers] == [False, True]
    assert answers[0]["error"] == "Currency pair not supported FOO/USD"
    (refusal,) = adapter("kraken").answers(json.dumps(answers[0]).encode())
    assert (refusal.accepted, refusal.key) == (False, "FOO/USD")
    assert any(f.get("channel") == "trade" for f in frames)


def test_binance_acknowledges_an_unknown_symbol_and_refuses_what_is_no_stream() -> None:
    messages = [
        {"method": "SUBSCRIBE", "params": ["foousd@trade"], "id": 7},
        {"method": "SUBSCRIBE", "params": ["no stream"], "id": 8},
        {"method": "DANCE", "id": 9},
    ]
    first, second, third = asyncio.run(_talk("/stream", messages, 3))
    assert first == {"result": None, "id": 7}
    assert (second["id"], second["error"]["code"]) == (8, 2)
    assert (third["id"], third["error"]["code"]) == (9, 2)


def test_binance_takes_streams_in_the_address_and_names_them_in_each_frame() -> None:
    frames = asyncio.run(_talk("/stream?streams=btcusdt@trade/foousdt@trade", [], 20))
    assert {f["stream"] for f in frames} == {"btcusdt@trade"}
    assert "X" not in frames[0]["data"]


def test_raw_futures_frames_carry_their_execution_type() -> None:
    subscribe = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}
    answer, *frames = asyncio.run(_talk("/public/ws", [subscribe], 10))
    assert answer["id"] == 1
    assert {f["X"] for f in frames} == {"MARKET"}
    assert {f["e"] for f in frames} == {"trade"}


def test_a_path_of_no_exchange_is_not_found() -> None:
    with pytest.raises(InvalidStatus, match="404"):
        asyncio.run(_talk("/v1", [], 1))


def test_it_runs_as_a_process_that_stops_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "address"
    command = [sys.executable, "-m", "k2_feeds.simulator", "--port", "0", "--rate", "50"]
    with subprocess.Popen(
        [*command, "--address-file", str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        assert file.read_text() == endpoint

        async def one_frame() -> bytes:
            async with connect(f"{endpoint}/v2", proxy=None) as socket:
                return await socket.recv(decode=False)

        assert b"status" in asyncio.run(one_frame())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@settings(deadline=None)
@given(
    steps=st.lists(st.integers(0, 2_000_000), min_size=1, max_size=20),
    rate=st.floats(0.1, 2000),
    seed=st.integers(0, 2**32),
)
def test_a_walk_keeps_its_rate_its_ids_and_its_seed(
    steps: list[int], rate: float, seed: int
) -> None:
    walks = [SyntheticSymbol("XRP-USDT", START_US, seed) for _ in range(2)]
    fills, now = [], START_US
    for step in steps:
        now += step
        one, other = (walk.advance(now, rate) for walk in walks)
        assert one == other
        fills += [fill for order in one for fill in order]
    assert abs(len(fills) - rate * sum(steps) / 1e6) <= 1.001
    assert [f.trade_id for f in fills] == list(range(START_US // 10, START_US // 10 + len(fills)))
    assert all(f.price > 0 and f.quantity > 0 and START_US < f.time_us <= now for f in fills)
    assert [f.time_us for f in fills] == sorted(f.time_us for f in fills)


def test_a_market_started_again_goes_on_above_its_earlier_ids() -> None:
    first = SyntheticMarket(["BTC-USD"], START_US, seed=1)
    (orders,) = first.advance(START_US + 3_000_000, rate=5000).values()
    last = orders[-1][-1].trade_id
    again = SyntheticMarket(["BTC-USD"], START_US + 3_000_000, seed=1)
    (orders,) = again.advance(START_US + 4_000_000, rate=5000).values()
    assert orders[0][0].trade_id > last
    assert "BTC-USD" in again
    assert "ETH-USD" not in again


def _coinbase(*products: str) -> dict[str, Any]:
    channels = [{"name": name, "product_ids": products} for name in ("matches", "heartbeat")]
    return {"type": "subscribe", "channels": channels}


def test_coinbase_lists_what_stands_and_refuses_a_message_with_an_unknown_product() -> None:
    messages = [_coinbase("BTC-USDT"), _coinbase("FOO-USD"), {"type": "dance"}]
    frames = asyncio.run(_talk("/coinbase", messages, 30))
    told = [f for f in frames if f["type"] in ("subscriptions", "error")]
    assert [f["type"] for f in told] == ["subscriptions", "error", "error"]
    assert told[0]["channels"][0] == {"name": "matches", "product_ids": ["BTC-USDT"]}
    assert told[1]["reason"] == "FOO-USD is not a valid product"


def test_coinbase_repeats_the_last_match_to_a_new_subscriber_and_beats_each_second() -> None:
    async def late() -> tuple[list[Any], list[Any]]:
        async with serve(symbols=("BTC-USDT",), rate=20) as simulator:
            ask = adapter("coinbase").subscribe(["BTC-USDT"], Kind.TRADES)[0]
            address = simulator.endpoint + "/coinbase"
            async with connect(address, proxy=None) as early:
                await early.send(ask)
                before = [json.loads(await early.recv())]
                while before[-1]["type"] != "match":
                    before.append(json.loads(await early.recv()))
                async with connect(address, proxy=None) as socket:
                    await socket.send(ask)
                    after = [json.loads(await socket.recv())]
                    while after[-1]["type"] != "heartbeat":
                        after.append(json.loads(await socket.recv()))
                return before, after

    before, after = asyncio.run(late())
    assert [m["type"] for m in after[:3]] == ["subscriptions", "last_match", "match"]
    assert after[1]["trade_id"] >= before[-1]["trade_id"]
    assert after[2]["trade_id"] == after[1]["trade_id"] + 1
    matches = [m["trade_id"] for m in after if m["type"] == "match"]
    assert (after[-1]["last_trade_id"], after[-1]["product_id"]) == (matches[-1], "BTC-USDT")


def test_bitstamp_acknowledges_an_unknown_pair_and_refuses_what_is_no_channel() -> None:
    messages = [
        {"event": "bts:subscribe", "data": {"channel": "live_trades_foousd"}},
        {"event": "bts:subscribe", "data": {"channel": "live_trades_BTC/USD"}},
        {"event": "bts:subscribe"},
        {"event": "bts:heartbeat"},
    ]
    first, second, third, beat = asyncio.run(_talk("/bitstamp", messages, 4))
    assert first["event"] == "bts:subscription_succeeded"
    assert (second["event"], second["channel"]) == ("bts:error", "")
    assert second["data"]["message"] == "Invalid channel provided."
    assert third["data"]["message"] == "Bad subscription string."
    assert beat["data"] == {"status": "success"}


def test_contracts_trade_in_whole_numbers_and_on_their_exchange_alone() -> None:
    subscribe = [{"method": "SUBSCRIBE", "params": ["btcusd_perp@trade"], "id": 1}]

    async def talk() -> tuple[list[Any], list[Any]]:
        async with serve(symbols=("BTC-USD-PERP", "BTC-USD"), rate=200) as simulator:
            found = []
            for path in ("/binance_coinm/stream", "/coinbase"):
                asked = subscribe if "coinm" in path else [_coinbase("BTC-USD-PERP")]
                async with connect(simulator.endpoint + path, proxy=None) as socket:
                    await socket.send(json.dumps(asked[0]))
                    count = 50 if "coinm" in path else 1
                    found.append([json.loads(await socket.recv()) for _ in range(count)])
            return found[0], found[1]

    (answer, *trades), (refusal,) = asyncio.run(talk())
    assert answer == {"result": None, "id": 1}
    assert {t["stream"] for t in trades} == {"btcusd_perp@trade"}
    assert {(t["data"]["s"], t["data"]["X"]) for t in trades} == {("BTCUSD_PERP", "MARKET")}
    assert all(t["data"]["q"].isdigit() and int(t["data"]["q"]) > 0 for t in trades)
    assert refusal["reason"] == "BTC-USD-PERP is not a valid product"
