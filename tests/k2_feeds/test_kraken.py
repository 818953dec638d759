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

KRAKEN = adapter("kraken")
RECEIVED = 1722114961000000


def trade(
    trade_id: int | str = 1, price: str = "68580.0", qty: str = "0.14225864", **more: str
) -> str:
    text = {"symbol": '"BTC/USD"', "side": '"buy"', "price": price, "qty": qty}
    text |= {"ord_type": '"limit"', "trade_id": str(trade_id)}
    text |= {"timestamp": '"2024-07-27T21:16:00.512060Z"'} | more
    return "{" + ",".join(f'"{name}":{value}' for name, value in text.items() if value) + "}"


def frame(*trades: str, kind: str = "update") -> bytes:
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(trades)}]}}'.encode()


def parse(*payloads: bytes) -> Parsed:
    table = frame_table([(p, RECEIVED) for p in payloads], exchange="kraken")
    return parsing.parse("kraken", Kind.TRADES, bronze_rows(table))


def test_a_trade_keeps_every_field() -> None:
    (row,) = parse(frame(trade(72166031))).rows.to_pylist()
    assert (row["symbol"], row["exchange_symbol"]) == ("BTC-USD", "BTC/USD")
    assert (row["trade_id"], row["source_sequence"]) == ("72166031", 72166031)
    assert (row["price"], row["quantity"]) == (Decimal("68580.0"), Decimal("0.14225864"))
    assert (row["side"], row["currency"], row["event_time"]) == ("buy", "USD", None)
    assert str(row["timestamp"]) == "2024-07-27 21:16:00.512060+00:00"
    assert row["vendor_data"] == [("ord_type", "limit")]
    assert (row["candle_eligible"], row["trade_count"], row["trade_conditions"]) == (True, 1, None)


def test_every_trade_of_a_snapshot_and_of_an_update_is_kept() -> None:
    snapshot = frame(*(trade(n) for n in range(50)), kind="snapshot")
    found = parse(snapshot, frame(trade(50), trade(51)), frame(trade(52))).rows
    assert found["source_sequence"].to_pylist() == list(range(53))
    assert found["frame_index"].to_pylist() == [*range(50), 0, 1, 0]
    assert found["kafka_offset"].to_pylist() == [0] * 50 + [1, 1, 2]


def test_numbers_never_pass_through_a_float() -> None:
    written = "1234567890.12345678"
    (row,) = parse(frame(trade(price=written, qty="5e-8"))).rows.to_pylist()
    assert (row["price"], row["quantity"]) == (Decimal(written), Decimal("0.00000005"))


def test_a_trade_without_an_order_type_has_no_vendor_data() -> None:
    found = parse(frame(trade(1, ord_type=""), trade(2))).rows
    assert found["vendor_data"].to_pylist() == [None, [("ord_type", "limit")]]


def test_old_names_become_the_usual_ones() -> None:
    found = parse(frame(trade(symbol='"XBT/EUR"'), trade(symbol='"XDG/USD"'))).rows
    assert found["symbol"].to_pylist() == ["BTC-EUR", "DOGE-USD"]


def test_bad_rows_of_a_frame_leave_the_others_alone() -> None:
    rows = (
        trade(1),
        trade(2, price="0"),
        trade(3, side=""),
        trade(4, price="1e999"),
        trade(5, side='"hold"'),
        trade(6, timestamp='"nope"'),
        trade('"7"'),
        trade(8, price='"68580.0"'),
        trade(9),
    )
    parsed = parse(frame(*rows))
    assert parsed.rows["trade_id"].to_pylist() == ["1", "9"]
    assert parsed.rows["frame_index"].to_pylist() == [0, 8]
    rejected = [(r["frame_index"], r["reason"]) for r in parsed.rejected.to_pylist()]
    assert rejected == [
        (1, "price_not_positive"),
        (2, "missing_field"),
        (3, "bad_decimal"),
        (4, "unknown_side"),
        (5, "bad_time"),
        (6, "wrong_type"),
        (7, "bad_decimal"),
    ]
    assert set(parsed.rejected["payload"].to_pylist()) == {frame(*rows)}


CONTROL = [
    b'{"channel":"heartbeat"}',
    b'{"channel":"status","data":[{"connection_id":15564437896659189083}],"type":"update"}',
    b'{"method":"subscribe","success":true,"result":{"channel":"trade","symbol":"BTC/USD"}}',
    b'{"method":"pong","req_id":42}',
    b'{"event":"heartbeat"}',
    frame(kind="snapshot"),
]


def test_control_frames_and_frames_without_a_trade_are_counted() -> None:
    parsed = parse(*CONTROL, b'{"channel":"book","type":"update","data":[]}', frame(trade()))
    assert (len(parsed.rows), len(parsed.rejected)) == (1, 0)
    assert (parsed.control, parsed.other) == (len(CONTROL), 1)


@pytest.mark.parametrize(
    ("payload", "route"),
    [
        (frame(trade()), Route(Channel.TRADES, "BTC/USD")),
        (json.dumps(json.loads(frame(trade()))).encode(), Route(Channel.TRADES, "BTC/USD")),
        (b'{"type":"update","channel":"trade","data":[]}', Route(Channel.TRADES)),
        (b'{"channel":"ticker","data":[{"symbol":"A/B"}]}', Route(Channel.QUOTES, "A/B")),
        (b'{"channel":"ohlc","data":[]}', Route(Channel.OTHER)),
        (b'{"channel":"nothing","data":[]}', Route(Channel.UNKNOWN)),
        (
            b'[0,[["5541.2","0.1","1534614057.3","s","l",""]],"trade","XBT/USD"]',
            Route(Channel.UNKNOWN),
        ),
        (b'{"channel":"', Route(Channel.UNKNOWN)),
        (b"\xff", Route(Channel.UNKNOWN)),
        *((payload, Route(Channel.CONTROL)) for payload in CONTROL[:5]),
    ],
)
def test_a_frame_is_routed_by_its_channel(payload: bytes, route: Route) -> None:
    assert KRAKEN.classify(payload) == route


def test_each_symbol_of_a_subscription_is_awaited() -> None:
    symbols = ["BTC-USDT", "ETH-USD"]
    (message,) = KRAKEN.subscribe(symbols, Kind.TRADES)
    assert json.loads(message) == {
        "method": "subscribe",
        "params": {"channel": "trade", "symbol": ["BTC/USDT", "ETH/USD"], "snapshot": True},
    }
    assert KRAKEN.awaited(symbols, Kind.TRADES) == {"BTC/USDT", "ETH/USD"}
    assert KRAKEN.url(symbols, Kind.TRADES) == "wss://ws.kraken.com/v2"


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (CONTROL[2], Answer(True, "BTC/USD")),
        (
            (
                b'{"error":"Currency pair not supported A/B","method":"subscribe","success":false,'
                b'"symbol":"A/B"}'
            ),
            Answer(False, "A/B", "Currency pair not supported A/B"),
        ),
        (
            b'{"error":"Malformed request","method":"error","success":false}',
            Answer(False, None, "Malformed request"),
        ),
        (CONTROL[0], None),
        (CONTROL[3], None),
        (frame(trade()), None),
        (b"{", None),
    ],
)
def test_answers_to_a_subscription_are_recognised(payload: bytes, answer: Answer | None) -> None:
    assert KRAKEN.answers(payload) == ([] if answer is None else [answer])
