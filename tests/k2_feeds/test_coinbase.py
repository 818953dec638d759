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

COINBASE = adapter("coinbase")
RECEIVED = 1723161255400000
MATCH = {
    "type": "match",
    "trade_id": 691305541,
    "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
    "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
    "side": "sell",
    "size": "0.00031874",
    "price": "61837.63",
    "product_id": "BTC-USD",
    "sequence": 88962703070,
    "time": "2024-08-08T23:54:15.342041Z",
}
HEARTBEAT = {
    "type": "heartbeat",
    "last_trade_id": 691305541,
    "product_id": "BTC-USD",
    "sequence": 88962703071,
    "time": "2024-08-08T23:54:16.342041Z",
}
TICKER = {"type": "ticker", "product_id": "BTC-USD", "best_bid": "1.0", "best_ask": "1.1"}


def frame(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def parse(*payloads: bytes) -> Parsed:
    table = frame_table([(p, RECEIVED) for p in payloads], exchange="coinbase")
    return parsing.parse("coinbase", Kind.TRADES, bronze_rows(table))


def subscriptions(*products: str) -> dict[str, object]:
    channels = [{"name": name, "product_ids": products} for name in ("matches", "heartbeat")]
    return {"type": "subscriptions", "channels": channels}


def test_a_match_keeps_every_field() -> None:
    (row,) = parse(frame(MATCH)).rows.to_pylist()
    assert (row["exchange"], row["symbol"], row["exchange_symbol"]) == (
        "coinbase",
        "BTC-USD",
        "BTC-USD",
    )
    assert (row["trade_id"], row["source_sequence"]) == ("691305541", 691305541)
    assert (row["price"], row["quantity"]) == (Decimal("61837.63"), Decimal("0.00031874"))
    assert (row["currency"], row["event_time"], row["trade_conditions"]) == ("USD", None, None)
    assert str(row["timestamp"]) == "2024-08-08 23:54:15.342041+00:00"
    assert row["vendor_data"] == [
        ("sequence", "88962703070"),
        ("maker_order_id", "ac928c66-ca53-498f-9c13-a110027a60e8"),
        ("taker_order_id", "132fb6ae-456b-4654-b4e0-d681ac05cea1"),
    ]
    assert (row["candle_eligible"], row["trade_count"]) == (True, 1)


def test_the_side_on_the_wire_is_the_makers_so_the_taker_took_the_other() -> None:
    found = parse(frame(MATCH), frame(MATCH | {"side": "buy"})).rows
    assert found["side"].to_pylist() == ["buy", "sell"]


def test_what_is_no_side_is_rejected_and_not_turned_round() -> None:
    parsed = parse(frame(MATCH | {"side": "hold"}))
    assert [(r["reason"], r["detail"][-12:]) for r in parsed.rejected.to_pylist()] == [
        ("unknown_side", "found 'hold'")
    ]


def test_the_last_match_of_a_subscription_is_the_trade_that_it_repeats() -> None:
    first, again = parse(frame(MATCH), frame(MATCH | {"type": "last_match"})).rows.to_pylist()
    place = ("kafka_offset",)
    assert {k: v for k, v in first.items() if k not in place} == {
        k: v for k, v in again.items() if k not in place
    }


def test_a_match_without_order_ids_has_less_vendor_data() -> None:
    bare = {k: v for k, v in MATCH.items() if not k.endswith("order_id")}
    alone = {k: v for k, v in bare.items() if k != "sequence"}
    found = parse(frame(bare), frame(alone)).rows["vendor_data"].to_pylist()
    assert found == [[("sequence", "88962703070")], None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price": "-1"}, "price_not_positive"),
        ({"size": "0"}, "quantity_not_positive"),
        ({"price": "1.123456789"}, "bad_decimal"),
        ({"price": 61837.63}, "wrong_type"),
        ({"trade_id": "1"}, "wrong_type"),
        ({"trade_id": -1}, "out_of_range"),
        ({"time": "2024-08-08T23:54:15.342041"}, "bad_time"),
        ({"time": "2030-01-01T00:00:00Z"}, "time_in_future"),
        ({"product_id": "BTCWHAT"}, "unreadable_symbol"),
        ({"type": "rematch"}, "unknown_frame"),
    ],
)
def test_a_bad_match_is_rejected_with_its_reason(change: dict[str, object], reason: str) -> None:
    parsed = parse(frame(MATCH), frame(MATCH | change), frame(MATCH))
    assert parsed.rejected["reason"].to_pylist() == [reason]
    assert parsed.rows["kafka_offset"].to_pylist() == [0, 2]


def test_what_is_no_trade_is_counted() -> None:
    control = [HEARTBEAT, subscriptions("BTC-USD"), {"type": "error", "message": "x"}]
    other = [TICKER, {"type": "l2update", "product_id": "BTC-USD", "changes": []}]
    parsed = parse(*map(frame, [*control, *other, MATCH]))
    assert (len(parsed.rows), len(parsed.rejected)) == (1, 0)
    assert (parsed.control, parsed.other) == (3, 2)


@pytest.mark.parametrize(
    ("payload", "route"),
    [
        (frame(MATCH), Route(Channel.TRADES, "BTC-USD")),
        (json.dumps(MATCH).encode(), Route(Channel.TRADES, "BTC-USD")),
        (frame(dict(reversed(MATCH.items()))), Route(Channel.TRADES, "BTC-USD")),
        (frame(MATCH | {"type": "last_match"}), Route(Channel.TRADES, "BTC-USD")),
        (frame(TICKER), Route(Channel.QUOTES, "BTC-USD")),
        (frame(HEARTBEAT), Route(Channel.CONTROL, "BTC-USD")),
        (frame(subscriptions("BTC-USD")), Route(Channel.CONTROL)),
        (frame({"type": "error", "message": "x"}), Route(Channel.CONTROL)),
        (frame({"type": "open", "product_id": "A-B"}), Route(Channel.OTHER, "A-B")),
        (frame({"channel": "l2_data", "events": []}), Route(Channel.OTHER)),
        (frame({"channel": "heartbeats"}), Route(Channel.CONTROL)),
        (frame({"channel": "market_trades"}), Route(Channel.UNKNOWN)),
        (frame({"type": "neverHeardOf"}), Route(Channel.UNKNOWN)),
        (b"[1]", Route(Channel.UNKNOWN)),
        (b'{"type":"', Route(Channel.UNKNOWN)),
        (b"\xff", Route(Channel.UNKNOWN)),
    ],
)
def test_a_frame_is_routed_by_its_type(payload: bytes, route: Route) -> None:
    assert COINBASE.classify(payload) == route


def test_every_product_is_asked_for_alone_with_its_heartbeat() -> None:
    symbols = ["BTC-USD", "eth-eur"]
    first, second = map(json.loads, COINBASE.subscribe(symbols, Kind.TRADES))
    assert first == {
        "type": "subscribe",
        "channels": [
            {"name": "matches", "product_ids": ["BTC-USD"]},
            {"name": "heartbeat", "product_ids": ["BTC-USD"]},
        ],
    }
    assert second["channels"][0]["product_ids"] == ["ETH-EUR"]
    assert COINBASE.awaited(symbols, Kind.TRADES) == {"BTC-USD", "ETH-EUR"}


def test_the_address_is_the_host_alone() -> None:
    assert COINBASE.url(["BTC-USD"], Kind.TRADES) == "wss://ws-feed.exchange.coinbase.com"
    assert COINBASE.url([], Kind.TRADES, "ws://127.0.0.1:9000") == "ws://127.0.0.1:9000/coinbase"


REFUSED = {"type": "error", "message": "Failed to subscribe"}


@pytest.mark.parametrize(
    ("payload", "answers"),
    [
        (
            frame(subscriptions("ETH-EUR", "BTC-USD")),
            [Answer(True, "ETH-EUR"), Answer(True, "BTC-USD")],
        ),
        (
            frame(REFUSED | {"reason": "FOO-USD is not a valid product"}),
            [Answer(False, "FOO-USD", "FOO-USD is not a valid product")],
        ),
        (
            frame(REFUSED | {"reason": "No channels provided"}),
            [Answer(False, None, "No channels provided")],
        ),
        (frame(REFUSED), [Answer(False, None, "Failed to subscribe")]),
        (frame({"type": "subscriptions", "channels": [None, {"name": "matches"}]}), []),
        (frame({"type": "subscriptions", "channels": "none"}), []),
        (frame(MATCH), []),
        (frame(HEARTBEAT), []),
        (b"{", []),
    ],
)
def test_answers_to_a_subscription_are_recognised(payload: bytes, answers: list[Answer]) -> None:
    assert COINBASE.answers(payload) == answers
    assert COINBASE.announces_close(payload) is False
