from __future__ import annotations

import json
from decimal import Decimal

import pytest

from k2_feeds.adapter import Answer, Channel, Route
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.parsing import frames as parsing
from k2_market.errors import UnknownName, UsageError
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from tests.frames import bronze_rows, frame_table

BINANCE = adapter("binance")
USDM = adapter("binance_usdm")
COINM = adapter("binance_coinm")
RECEIVED = 1723161254087896
TRADE = {
    "e": "trade",
    "E": 1723161255343,
    "s": "BTCUSDT",
    "t": 3735683259,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": 1723161255342,
    "m": True,
}
AGGREGATED = {
    "e": "aggTrade",
    "E": 1723161255343,
    "s": "BTCUSDT",
    "a": 500,
    "p": "61837.63",
    "q": "0.3",
    "f": 100,
    "l": 102,
    "T": 1723161255342,
    "m": False,
}


def combined(data: object, stream: str = "btcusdt@trade") -> bytes:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


def bare(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def rows(exchange: str, *payloads: bytes) -> list[dict[str, object]]:
    frames = bronze_rows(frame_table([(p, RECEIVED) for p in payloads], 40))
    parsed = parsing.parse(exchange, Kind.TRADES, frames)
    assert parsed.rejected.to_pylist() == []
    found: list[dict[str, object]] = parsed.rows.to_pylist()
    return found


def test_every_known_exchange_has_an_adapter() -> None:
    assert set(ADAPTERS) == set(EXCHANGES)
    assert all(name == known.exchange for name, known in ADAPTERS.items())
    with pytest.raises(UnknownName, match=r"unknown exchange 'mtgox'\. Known: binance"):
        adapter("mtgox")


@pytest.mark.parametrize("write", [combined, bare])
def test_a_trade_keeps_every_field(write: object) -> None:
    (row,) = rows("binance", write(TRADE))  # type: ignore[operator]
    assert row["exchange"] == "binance"
    assert (row["symbol"], row["exchange_symbol"]) == ("BTC-USDT", "BTCUSDT")
    assert (row["currency"], row["asset_class"]) == ("USDT", "crypto")
    assert (row["trade_id"], row["source_sequence"]) == ("3735683259", 3735683259)
    assert (row["price"], row["quantity"]) == (Decimal("61837.63"), Decimal("0.02"))
    assert str(row["timestamp"]) == "2024-08-08 23:54:15.342000+00:00"
    assert str(row["event_time"]) == "2024-08-08 23:54:15.343000+00:00"
    assert str(row["ingestion_timestamp"]) == "2024-08-08 23:54:14.087896+00:00"
    assert (row["trade_conditions"], row["vendor_data"]) == (None, None)
    assert (row["candle_eligible"], row["trade_count"]) == (True, 1)
    assert (row["epoch"], row["kafka_partition"], row["kafka_offset"]) == (1, 0, 40)
    assert (row["frame_index"], str(row["trade_date"])) == (0, "2024-08-08")


def test_the_buyer_being_the_maker_means_that_the_taker_sold() -> None:
    found = rows("binance", combined(TRADE), combined(TRADE | {"m": False}))
    assert [row["side"] for row in found] == ["sell", "buy"]


def test_an_aggregated_trade_counts_its_raw_trades_and_sorts_by_the_last() -> None:
    (row,) = rows("binance_usdm", combined(AGGREGATED, "btcusdt@aggTrade"))
    assert (row["trade_id"], row["source_sequence"], row["trade_count"]) == ("agg:500", 102, 3)
    assert row["vendor_data"] == [("first_trade_id", "100"), ("last_trade_id", "102")]


@pytest.mark.parametrize(
    ("execution", "conditions", "eligible"),
    [
        ({}, None, True),
        ({"X": "MARKET"}, None, True),
        ({"X": "INSURANCE_FUND"}, ["INSURANCE_FUND"], False),
        ({"X": "NA"}, ["NA"], False),
    ],
)
def test_only_market_executions_of_futures_count_in_candles(
    execution: dict[str, str], conditions: list[str] | None, eligible: bool
) -> None:
    (row,) = rows("binance_usdm", combined(TRADE | execution))
    assert (row["trade_conditions"], row["candle_eligible"]) == (conditions, eligible)


def test_milliseconds_and_microseconds_are_told_apart() -> None:
    micros = TRADE | {"T": 1723161255342123, "E": 1723161255343456}
    found = rows("binance", combined(micros), combined(TRADE))
    assert [str(row["timestamp"]) for row in found] == [
        "2024-08-08 23:54:15.342123+00:00",
        "2024-08-08 23:54:15.342000+00:00",
    ]


def test_trades_and_aggregated_ones_keep_the_order_of_their_frames() -> None:
    found = rows("binance", combined(TRADE), combined(AGGREGATED), bare(TRADE), combined(TRADE))
    assert [row["kafka_offset"] for row in found] == [40, 41, 42, 43]
    assert [row["trade_id"] for row in found] == ["3735683259", "agg:500", *["3735683259"] * 2]


@pytest.mark.parametrize(
    ("payload", "channel", "symbol"),
    [
        (combined(TRADE), "trades", "BTCUSDT"),
        (bare(TRADE), "trades", "BTCUSDT"),
        (json.dumps(TRADE).encode(), "trades", "BTCUSDT"),
        (combined(AGGREGATED, "btcusdt@aggTrade"), "trades", "BTCUSDT"),
        (combined({}, "btcusdt_240927@trade"), "trades", "BTCUSDT_240927"),
        (combined({}, "btcusdt@bookTicker"), "quotes", "BTCUSDT"),
        (b'{"u":1,"s":"BNBUSDT","b":"1","B":"2","a":"3","A":"4"}', "quotes", "BNBUSDT"),
        (combined({}, "btcusdt@depth20@100ms"), "other", "BTCUSDT"),
        (combined({}, "btcusdt@kline_1m"), "other", "BTCUSDT"),
        (combined([], "!miniTicker@arr"), "other", None),
        (bare([{"e": "24hrTicker", "s": "BTCUSDT"}]), "other", None),
        (b'{"lastUpdateId":160,"bids":[],"asks":[]}', "other", None),
        (b'{"e":"serverShutdown","E":1770123456789}', "control", None),
        (b'{"result":null,"id":1}', "control", None),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', "control", None),
        (b'{"e":"neverHeardOf","s":"BTCUSDT"}', "unknown", "BTCUSDT"),
        (b'{"stream":"btcusdt@neverHeardOf","data":{}}', "unknown", None),
        (b'{"stream":"btcusdt', "unknown", None),
        (b"", "unknown", None),
        (b"[" * 100_000, "unknown", None),
        (b'"\xff"', "unknown", None),
    ],
)
def test_a_frame_is_routed_by_what_it_is_about(
    payload: bytes, channel: str, symbol: str | None
) -> None:
    route = BINANCE.classify(payload)
    assert route.channel is Channel(channel)
    if route.channel is not Channel.UNKNOWN:
        assert route == Route(Channel(channel), symbol)


def test_a_symbol_beyond_ascii_is_a_symbol() -> None:
    data = TRADE | {"s": "币安人生USDT"}
    payload = f'{{"stream":"币安人生usdt@trade","data":{json.dumps(data)}}}'.encode()
    assert BINANCE.classify(payload) == Route(Channel.TRADES, "币安人生USDT")
    assert rows("binance", payload)[0]["symbol"] == "币安人生-USDT"


def test_addresses_differ_by_market_and_can_be_replaced() -> None:
    assert BINANCE.url(["BTC-USDT"], Kind.TRADES) == "wss://stream.binance.com:9443/stream"
    for kind in Kind:
        assert USDM.url(["BTC-USDT"], kind) == "wss://fstream.binance.com/public/stream"
        assert USDM.url([], kind, "ws://127.0.0.1:9000") == "ws://127.0.0.1:9000/public/stream"
    assert COINM.url(["BTC-USD-PERP"], Kind.TRADES) == "wss://dstream.binance.com/stream"
    assert (
        COINM.url([], Kind.TRADES, "ws://127.0.0.1:9000")
        == "ws://127.0.0.1:9000/binance_coinm/stream"
    )


@pytest.mark.parametrize(
    ("exchange_symbol", "symbol"),
    [("BTCUSD_PERP", "BTC-USD-PERP"), ("BTCUSD_240927", "BTC-USD-240927")],
)
def test_a_coinm_trade_counts_contracts(exchange_symbol: str, symbol: str) -> None:
    data = TRADE | {"s": exchange_symbol, "q": "17", "p": "61837.6", "X": "MARKET"}
    (row,) = rows("binance_coinm", combined(data, f"{exchange_symbol.lower()}@trade"))
    assert (row["exchange"], row["symbol"], row["currency"]) == ("binance_coinm", symbol, "USD")
    assert (row["price"], row["quantity"]) == (Decimal("61837.6"), Decimal(17))
    assert (row["exchange_symbol"], row["candle_eligible"]) == (exchange_symbol, True)
    assert COINM.exchange_symbol(symbol) == exchange_symbol
    (message,) = COINM.subscribe([symbol], Kind.TRADES)
    assert json.loads(message)["params"] == [f"{exchange_symbol.lower()}@trade"]


def test_a_shutdown_of_the_server_announces_the_end_of_the_connection() -> None:
    assert BINANCE.announces_close(b'{"e":"serverShutdown","E":1770123456789}')
    assert not BINANCE.announces_close(b'{"result":null,"id":1}')


def test_every_message_of_a_subscription_is_awaited() -> None:
    symbols = [f"A{n}-USDT" for n in range(201)]
    messages = [json.loads(m) for m in BINANCE.subscribe(symbols, Kind.TRADES)]
    assert [(m["method"], m["id"], len(m["params"])) for m in messages] == [
        ("SUBSCRIBE", 1, 200),
        ("SUBSCRIBE", 2, 1),
    ]
    assert messages[1]["params"] == ["a200usdt@trade"]
    assert BINANCE.awaited(symbols, Kind.TRADES) == {"1", "2"}


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b'{"result":null,"id":1}', Answer(True, "1")),
        (b'{"error":{"code":2,"msg":"x"},"id":1}', Answer(False, "1", "{'code': 2, 'msg': 'x'}")),
        (b'{"code":2,"msg":"x"}', Answer(False, None, "{'code': 2, 'msg': 'x'}")),
        (combined(TRADE), None),
        (bare(TRADE), None),
        (b"[1]", None),
        (b"\xff", None),
    ],
)
def test_answers_to_a_subscription_are_recognised(payload: bytes, answer: Answer | None) -> None:
    assert BINANCE.answers(payload) == ([] if answer is None else [answer])


def test_symbols_are_spelt_as_in_trades() -> None:
    assert BINANCE.exchange_symbol("BTC-USDT") == "BTCUSDT"
    assert USDM.exchange_symbol("btc-usdt-240927") == "BTCUSDT_240927"


@pytest.mark.parametrize("symbol", ["BTCUSDT", "-USDT", "BTC-", "", "A-B-", "A-B-C-D"])
def test_a_symbol_that_is_not_canonical_is_refused(symbol: str) -> None:
    with pytest.raises(UsageError, match="is not written BASE-QUOTE"):
        BINANCE.exchange_symbol(symbol)
