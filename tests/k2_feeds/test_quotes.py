"""What each exchange says of its best levels, to the digit; bad quotes, and made ids."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_feeds.adapter import Answer, Channel, Route
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.parsing import frames as parsing
from k2_feeds.parsing.frames import Parsed
from k2_market.kinds import Kind
from tests.frames import bronze_rows, frame_table

RECEIVED = 1723161255400123
SPOT = {
    "u": 50093239212,
    "s": "BTCUSDT",
    "b": "61837.63000000",
    "B": "3.78826000",
    "a": "61837.64000000",
    "A": "1.54698000",
}
FUTURES = SPOT | {"e": "bookTicker", "E": 1723161255343, "T": 1723161255342}
COINBASE = {
    "type": "ticker",
    "sequence": 37475248783,
    "product_id": "BTC-USD",
    "price": "61837.64",
    "best_bid": "61837.63",
    "best_bid_size": "0.46688654",
    "best_ask": "61837.64",
    "best_ask_size": "1.56637040",
    "side": "buy",
    "time": "2024-08-08T23:54:15.342041Z",
    "trade_id": 370843401,
    "last_size": "11.4396987",
}
BOOK: dict[str, Any] = {
    "timestamp": "1723161255",
    "microtimestamp": "1723161255342041",
    "bids": [["61837.63", "0.36400000"], ["61837.00", "0.1"]],
    "asks": [["61837.64", "0.31708837"], ["61838.00", "0.2"]],
}
KRAKEN = {
    "symbol": '"BTC/USD"',
    "bid": "61837.6",
    "bid_qty": "2.50000000",
    "ask": "61837.7",
    "ask_qty": "3.2",
    "last": "61837.7",
    "timestamp": '"2024-08-08T23:54:15.342041Z"',
}


def frame(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def combined(data: object) -> bytes:
    return frame({"stream": "btcusdt@bookTicker", "data": data})


def book(**change: object) -> bytes:
    return frame({"data": BOOK | change, "channel": "order_book_btcusd", "event": "data"})


def ticker(*rows: dict[str, str], kind: str = "update") -> bytes:
    texts = ["{" + ",".join(f'"{k}":{v}' for k, v in row.items()) + "}" for row in rows]
    return f'{{"channel":"ticker","type":"{kind}","data":[{",".join(texts)}]}}'.encode()


def parse(exchange: str, *payloads: bytes, received_us: int = RECEIVED) -> Parsed:
    frames = [(payload, received_us) for payload in payloads]
    return parsing.parse(exchange, Kind.QUOTES, bronze_rows(frame_table(frames)))


def rows(exchange: str, *payloads: bytes, received_us: int = RECEIVED) -> list[dict[str, Any]]:
    parsed = parse(exchange, *payloads, received_us=received_us)
    assert parsed.rejected.to_pylist() == []
    found: list[dict[str, Any]] = parsed.rows.to_pylist()
    return found


def levels(row: dict[str, Any]) -> tuple[str, ...]:
    names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    return tuple(str(row[name].normalize()) for name in names)


@pytest.mark.parametrize("write", [combined, frame])
def test_a_quote_of_binance_spot_has_the_time_of_its_receipt(write: Any) -> None:
    (row,) = rows("binance", write(SPOT))
    assert (row["symbol"], row["exchange_symbol"], row["currency"]) == (
        "BTC-USDT",
        "BTCUSDT",
        "USDT",
    )
    assert (row["quote_id"], row["source_sequence"]) == ("50093239212", 50093239212)
    assert levels(row) == ("61837.63", "3.78826", "61837.64", "1.54698")
    assert str(row["timestamp"]) == "2024-08-08 23:54:15.400123+00:00"
    assert row["ingestion_timestamp"] == row["timestamp"]
    assert (row["event_time"], row["quote_conditions"], row["vendor_data"]) == (None, None, None)
    assert (str(row["quote_date"]), row["frame_index"]) == ("2024-08-08", 0)


@pytest.mark.parametrize("exchange", ["binance_usdm", "binance_coinm"])
@pytest.mark.parametrize("write", [combined, frame])
def test_a_quote_of_binance_futures_has_its_own_times(exchange: str, write: Any) -> None:
    (row,) = rows(exchange, write(FUTURES | {"s": "BTCUSD_PERP", "ps": "BTCUSD", "B": "86"}))
    assert (row["symbol"], row["bid_quantity"]) == ("BTC-USD-PERP", Decimal(86))
    assert str(row["timestamp"]) == "2024-08-08 23:54:15.342000+00:00"
    assert str(row["event_time"]) == "2024-08-08 23:54:15.343000+00:00"


def test_a_quote_of_coinbase_names_the_trade_that_it_was_sent_for() -> None:
    first, again = rows("coinbase", frame(COINBASE), frame(COINBASE))
    assert (first["quote_id"], first["source_sequence"]) == ("37475248783", 37475248783)
    assert levels(first) == ("61837.63", "0.46688654", "61837.64", "1.5663704")
    assert str(first["timestamp"]) == "2024-08-08 23:54:15.342041+00:00"
    assert first["vendor_data"] == [("trade_id", "370843401")]
    assert first["quote_id"] == again["quote_id"]


def test_a_quote_of_bitstamp_is_the_first_level_of_each_side() -> None:
    (row,) = rows("bitstamp", book())
    assert (row["symbol"], row["exchange_symbol"]) == ("BTC-USD", "btcusd")
    assert (row["quote_id"], row["source_sequence"]) == ("1723161255342041", 1723161255342041)
    assert levels(row) == ("61837.63", "0.364", "61837.64", "0.31708837")
    assert str(row["timestamp"]) == "2024-08-08 23:54:15.342041+00:00"


@pytest.mark.parametrize("kind", ["snapshot", "update"])
def test_a_quote_of_kraken_is_known_by_its_time_and_content(kind: str) -> None:
    (row,) = rows("kraken", ticker(KRAKEN, kind=kind))
    assert levels(row) == ("61837.6", "2.5", "61837.7", "3.2")
    assert str(row["timestamp"]) == "2024-08-08 23:54:15.342041+00:00"
    assert row["source_sequence"] == 1723161255342041
    assert row["quote_id"] == (
        "1723161255342041 61837.60000000 2.50000000 61837.70000000 3.20000000"
    )


def test_numbers_of_kraken_never_pass_through_a_float() -> None:
    (row,) = rows("kraken", ticker(KRAKEN | {"bid": "123456789.12345678", "bid_qty": "5e-8"}))
    assert (row["bid_price"], row["bid_quantity"]) == (
        Decimal("123456789.12345678"),
        Decimal("0.00000005"),
    )
    assert row["quote_conditions"] == ["crossed"]


@given(later_us=st.integers(0, 3_000_000))
def test_a_repeat_of_a_stated_time_is_the_same_quote_whenever_it_is_received(
    later_us: int,
) -> None:
    (first,) = rows("kraken", ticker(KRAKEN))
    (again,) = rows("kraken", ticker(KRAKEN), received_us=RECEIVED + later_us)
    assert first["quote_id"] == again["quote_id"]
    assert first["source_sequence"] == again["source_sequence"]


@given(later_us=st.integers(0, 3_000_000))
def test_without_a_time_a_quote_is_known_by_its_content_and_the_second_of_receipt(
    later_us: int,
) -> None:
    timeless = {name: text for name, text in KRAKEN.items() if name != "timestamp"}
    (first,) = rows("kraken", ticker(timeless))
    (again,) = rows("kraken", ticker(timeless), received_us=RECEIVED + later_us)
    same_second = (RECEIVED + later_us) // 1_000_000 == RECEIVED // 1_000_000
    assert (first["quote_id"] == again["quote_id"]) == same_second
    assert first["source_sequence"] == RECEIVED // 1_000_000 * 1_000_000


def test_a_state_of_the_book_that_returns_is_another_quote() -> None:
    later = KRAKEN | {"timestamp": '"2024-08-08T23:54:15.342042Z"'}
    moved = KRAKEN | {"bid": "61837.5"}
    found = rows("kraken", ticker(KRAKEN), ticker(moved), ticker(later))
    assert len({row["quote_id"] for row in found}) == 3


def test_rows_with_and_without_a_time_stand_beside_each_other() -> None:
    timeless = {name: text for name, text in KRAKEN.items() if name != "timestamp"}
    bad = KRAKEN | {"timestamp": '"soon"'}
    parsed = parse("kraken", ticker(KRAKEN, timeless, bad, KRAKEN | {"ask_qty": "0"}))
    assert [row["quote_id"].split()[0] for row in parsed.rows.to_pylist()] == [
        "1723161255342041",
        "1723161255000000",
    ]
    assert [(r["frame_index"], r["reason"]) for r in parsed.rejected.to_pylist()] == [
        (2, "bad_time"),
        (3, "ask_quantity_not_positive"),
    ]


@pytest.mark.parametrize(
    ("exchange", "payload", "reason"),
    [
        ("binance", combined(SPOT | {"a": "0", "A": "0"}), "ask_price_not_positive"),
        ("binance", combined(SPOT | {"b": 61837.63}), "wrong_type"),
        ("binance", combined(SPOT | {"u": -1}), "out_of_range"),
        ("binance", combined({"u": 1, "s": "BTCUSDT"}), "missing_field"),
        ("binance_coinm", combined(FUTURES | {"b": "0", "B": "0"}), "bid_price_not_positive"),
        ("binance_usdm", combined(FUTURES | {"T": 1723161255}), "time_too_early"),
        ("coinbase", frame(COINBASE | {"best_ask_size": "0"}), "ask_quantity_not_positive"),
        ("coinbase", frame(COINBASE | {"best_bid": "1.123456789"}), "bad_decimal"),
        ("coinbase", frame(COINBASE | {"time": ""}), "bad_time"),
        ("bitstamp", book(bids=[]), "bid_price_not_positive"),
        ("bitstamp", book(asks=[]), "ask_price_not_positive"),
        ("bitstamp", book(asks=[["1"]]), "wrong_type"),
        ("bitstamp", book(microtimestamp="soon"), "wrong_type"),
        ("kraken", ticker(KRAKEN | {"bid": "null"}), "bad_decimal"),
        ("kraken", ticker(KRAKEN | {"bid": '"61837.6"'}), "bad_decimal"),
        ("kraken", ticker({"symbol": '"BTC/USD"'}), "missing_field"),
    ],
)
def test_a_bad_quote_is_rejected_with_its_reason(
    exchange: str, payload: bytes, reason: str
) -> None:
    parsed = parse(exchange, payload)
    (rejected,) = parsed.rejected.to_pylist()
    assert (rejected["reason"], rejected["kind"]) == (reason, "quotes")
    assert rejected["payload"] == payload
    assert len(parsed.rows) == 0


@pytest.mark.parametrize(
    ("bid", "ask", "conditions"),
    [("1", "2", None), ("2", "2", ["locked"]), ("2", "1", ["crossed"])],
)
def test_a_crossed_or_locked_book_is_kept_and_says_so(
    bid: str, ask: str, conditions: list[str] | None
) -> None:
    usual, found = rows("binance", combined(SPOT), combined(SPOT | {"b": bid, "a": ask}))
    assert found["quote_conditions"] == conditions
    assert usual["quote_conditions"] is None


@pytest.mark.parametrize(
    ("exchange", "payload", "symbol"),
    [
        ("binance", frame(SPOT), "BTCUSDT"),
        ("binance_usdm", frame(FUTURES), "BTCUSDT"),
        ("binance_coinm", combined(FUTURES), "BTCUSDT"),
        ("coinbase", frame(COINBASE), "BTC-USD"),
        ("bitstamp", book(), "btcusd"),
        ("kraken", ticker(KRAKEN), "BTC/USD"),
    ],
)
def test_a_quote_is_routed_under_its_symbol_and_answers_nothing(
    exchange: str, payload: bytes, symbol: str
) -> None:
    venue = adapter(exchange)
    assert venue.classify(payload) == Route(Channel.QUOTES, symbol)
    assert venue.classify(json.dumps(json.loads(payload)).encode()).channel is Channel.QUOTES
    assert venue.answers(payload) == []


def test_other_books_of_bitstamp_are_no_quotes() -> None:
    for name in ("detail_order_book_btcusd", "diff_order_book_btcusd"):
        payload = frame({"data": BOOK, "channel": name, "event": "data"})
        assert adapter("bitstamp").classify(payload) == Route(Channel.OTHER)
        assert parse("bitstamp", payload).other == 1


ASKED: dict[str, list[dict[str, Any]]] = {
    "binance": [{"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1}],
    "binance_usdm": [{"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1}],
    "binance_coinm": [{"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1}],
    "kraken": [
        {
            "method": "subscribe",
            "params": {
                "channel": "ticker",
                "event_trigger": "bbo",
                "symbol": ["BTC/USDT"],
                "snapshot": True,
            },
        }
    ],
    "coinbase": [
        {
            "type": "subscribe",
            "channels": [
                {"name": "ticker", "product_ids": ["BTC-USDT"]},
                {"name": "heartbeat", "product_ids": ["BTC-USDT"]},
            ],
        }
    ],
    "bitstamp": [{"event": "bts:subscribe", "data": {"channel": "order_book_btcusdt"}}],
}


@pytest.mark.parametrize("exchange", ADAPTERS)
def test_quotes_are_asked_for_by_the_exchanges_own_channel(exchange: str) -> None:
    messages = adapter(exchange).subscribe(["BTC-USDT"], Kind.QUOTES)
    assert [json.loads(message) for message in messages] == ASKED[exchange]


@pytest.mark.parametrize(
    ("exchange", "payload", "key"),
    [
        ("binance", b'{"result":null,"id":1}', "1"),
        (
            "kraken",
            (
                b'{"method":"subscribe","result":{"channel":"ticker","event_trigger":"bbo",'
                b'"snapshot":true,"symbol":"BTC/USDT"},"success":true}'
            ),
            "BTC/USDT",
        ),
        (
            "coinbase",
            (
                b'{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USDT"]},'
                b'{"name":"heartbeat","product_ids":["BTC-USDT"]}]}'
            ),
            "BTC-USDT",
        ),
        (
            "bitstamp",
            b'{"event":"bts:subscription_succeeded","channel":"order_book_btcusdt","data":{}}',
            "order_book_btcusdt",
        ),
    ],
)
def test_the_answer_to_a_subscription_of_quotes_is_what_was_awaited(
    exchange: str, payload: bytes, key: str
) -> None:
    venue = adapter(exchange)
    assert venue.awaited(["BTC-USDT"], Kind.QUOTES) == {key}
    assert venue.answers(payload) == [Answer(True, key)]
