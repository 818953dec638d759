from __future__ import annotations

import json
from decimal import Decimal

import pytest

from k2_feeds.adapter import Answer, Channel, Route
from k2_feeds.adapters import adapter
from k2_feeds.parsing import frames as parsing
from k2_feeds.parsing.frames import Parsed
from k2_market.kinds import Kind
from tests.frames import bronze_rows, frame_table

BITSTAMP = adapter("bitstamp")
RECEIVED = 1723161255400000
# Written by hand in the shape of the documentation: the seller's order is the newer, and type is 1.
TRADE = (
    b'{"data":{"id":351267343,"timestamp":"1723161255","amount":0.02000000,'
    b'"amount_str":"0.02000000","price":61837.0,"price_str":"61837.00","type":1,'
    b'"microtimestamp":"1723161255342041","buy_order_id":1781273550946307,'
    b'"sell_order_id":1781273551048704},"channel":"live_trades_btcusd","event":"trade"}'
)
RECONNECT = b'{"event":"bts:request_reconnect","channel":"","data":null}'
SUCCEEDED = b'{"event":"bts:subscription_succeeded","channel":"live_trades_btcusd","data":{}}'
HEARTBEAT = b'{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}'
ERROR = b'{"event":"bts:error","channel":"","data":{"code":null,"message":"Bad subscription."}}'
BOOK = b'{"data":{"bids":[],"asks":[]},"channel":"order_book_btcusd","event":"data"}'
ORDER = b'{"data":{"id":1},"channel":"live_orders_btcusd","event":"order_created"}'


def parse(*payloads: bytes) -> Parsed:
    table = frame_table([(p, RECEIVED) for p in payloads], exchange="bitstamp")
    return parsing.parse("bitstamp", Kind.TRADES, bronze_rows(table))


def test_a_trade_keeps_every_field() -> None:
    (row,) = parse(TRADE).rows.to_pylist()
    assert (row["exchange"], row["symbol"], row["exchange_symbol"]) == (
        "bitstamp",
        "BTC-USD",
        "btcusd",
    )
    assert (row["trade_id"], row["source_sequence"]) == ("351267343", 351267343)
    assert (row["price"], row["quantity"]) == (Decimal("61837.00"), Decimal("0.02000000"))
    assert (row["currency"], row["event_time"], row["trade_conditions"]) == ("USD", None, None)
    assert str(row["timestamp"]) == "2024-08-08 23:54:15.342041+00:00"
    assert row["vendor_data"] == [
        ("buy_order_id", "1781273550946307"),
        ("sell_order_id", "1781273551048704"),
    ]
    assert (row["candle_eligible"], row["trade_count"]) == (True, 1)


def test_type_0_is_a_buy_and_1_a_sell() -> None:
    found = parse(TRADE, TRADE.replace(b'"type":1', b'"type":0')).rows
    assert found["side"].to_pylist() == ["sell", "buy"]


def test_digits_come_from_the_texts_and_never_from_the_numbers() -> None:
    written = TRADE.replace(b'"61837.00"', b'"1234567890.12345678"')
    (row,) = parse(written.replace(b'"0.02000000"', b'"0.00000001"')).rows.to_pylist()
    assert row["price"] == Decimal("1234567890.12345678")
    assert row["quantity"] == Decimal("0.00000001")


def test_a_perpetual_is_told_by_its_channel() -> None:
    perpetual = TRADE.replace(b"live_trades_btcusd", b"live_trades_btcusd-perp")
    (row,) = parse(perpetual.replace(b"351267343", b"2001939623936278528")).rows.to_pylist()
    assert (row["symbol"], row["exchange_symbol"]) == ("BTC-USD-PERP", "btcusd-perp")
    assert row["trade_id"] == "2001939623936278528"


def test_a_trade_without_orders_has_no_vendor_data() -> None:
    orders = b',"buy_order_id":1781273550946307,"sell_order_id":1781273551048704'
    found = parse(TRADE.replace(orders, b""), TRADE.replace(b"1781273550946307", b"null")).rows
    assert found["vendor_data"].to_pylist() == [None, [("sell_order_id", "1781273551048704")]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"61837.00"', b'"0.00"'), "price_not_positive"),
        ((b'"0.02000000"', b'"-1"'), "quantity_not_positive"),
        ((b'"61837.00"', b'"x"'), "bad_decimal"),
        ((b'"61837.00"', b"61837.00"), "wrong_type"),
        ((b',"price_str":"61837.00"', b""), "missing_field"),
        ((b'"type":1', b'"type":2'), "wrong_value"),
        ((b'"1723161255342041"', b"1723161255342041"), "wrong_type"),
        ((b'"1723161255342041"', b'"soon"'), "wrong_type"),
        ((b'"1723161255342041"', b'"1823161255342041"'), "time_in_future"),
        ((b'"1723161255342041"', b'"1723161255342"'), "time_too_early"),
        ((b"live_trades_btcusd", b"live_trades_btcwhat"), "unreadable_symbol"),
        ((b'"event":"trade"', b'"event":"self_trade"'), "unknown_frame"),
        ((b"live_trades_btcusd", b"live_trades_"), "unknown_frame"),
        ((b'"event":"trade"}', b'"event":"trade"'), "malformed_json"),
    ],
)
def test_a_bad_trade_is_rejected_with_its_reason(change: tuple[bytes, bytes], reason: str) -> None:
    assert change[0] in TRADE
    parsed = parse(TRADE, TRADE.replace(*change), TRADE)
    assert parsed.rejected["reason"].to_pylist() == [reason]
    assert parsed.rows["kafka_offset"].to_pylist() == [0, 2]


def test_what_is_no_trade_is_counted() -> None:
    parsed = parse(RECONNECT, SUCCEEDED, HEARTBEAT, ERROR, BOOK, ORDER, TRADE)
    assert (len(parsed.rows), len(parsed.rejected)) == (1, 0)
    assert (parsed.control, parsed.other) == (4, 2)


@pytest.mark.parametrize(
    ("payload", "route"),
    [
        (TRADE, Route(Channel.TRADES, "btcusd")),
        (json.dumps(json.loads(TRADE)).encode(), Route(Channel.TRADES, "btcusd")),
        (b'{"event":"trade","channel":"live_trades_a","data":{}}', Route(Channel.TRADES, "a")),
        (BOOK, Route(Channel.QUOTES, "btcusd")),
        (ORDER, Route(Channel.OTHER)),
        (b'{"event":"funding_rate_saved","channel":"x"}', Route(Channel.OTHER)),
        (b'{"event":"data","channel":"neverHeardOf"}', Route(Channel.UNKNOWN)),
        (b'{"event":[],"channel":1}', Route(Channel.UNKNOWN)),
        (b'"event":"trade"}', Route(Channel.UNKNOWN)),
        (b"[]", Route(Channel.UNKNOWN)),
        (b"\xff", Route(Channel.UNKNOWN)),
        *(
            (control, Route(Channel.CONTROL))
            for control in (RECONNECT, SUCCEEDED, HEARTBEAT, ERROR)
        ),
    ],
)
def test_a_frame_is_routed_by_its_event_and_channel(payload: bytes, route: Route) -> None:
    assert BITSTAMP.classify(payload) == route


def test_every_channel_is_asked_for_and_awaited() -> None:
    symbols = ["BTC-USD", "eth-eur", "BTC-USD-PERP"]
    messages = [json.loads(m) for m in BITSTAMP.subscribe(symbols, Kind.TRADES)]
    channels = ["live_trades_btcusd", "live_trades_etheur", "live_trades_btcusd-perp"]
    assert messages == [{"event": "bts:subscribe", "data": {"channel": c}} for c in channels]
    assert BITSTAMP.awaited(symbols, Kind.TRADES) == set(channels)
    assert BITSTAMP.url(symbols, Kind.TRADES) == "wss://ws.bitstamp.net"
    assert BITSTAMP.url([], Kind.TRADES, "ws://127.0.0.1:9000") == "ws://127.0.0.1:9000/bitstamp"


@pytest.mark.parametrize(
    ("payload", "answers"),
    [
        (SUCCEEDED, [Answer(True, "live_trades_btcusd")]),
        (ERROR, [Answer(False, None, "Bad subscription.")]),
        (HEARTBEAT, []),
        (RECONNECT, []),
        (TRADE, []),
        (b"{", []),
    ],
)
def test_answers_to_a_subscription_are_recognised(payload: bytes, answers: list[Answer]) -> None:
    assert BITSTAMP.answers(payload) == answers


def test_a_request_to_reconnect_announces_the_end_of_the_connection() -> None:
    assert BITSTAMP.announces_close(RECONNECT)
    assert not any(map(BITSTAMP.announces_close, (SUCCEEDED, HEARTBEAT, ERROR, TRADE, b"{")))
