from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.parsing import frames as parsing
from k2_feeds.parsing.frames import Parsed
from k2_market.errors import UnknownName
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME, REJECTED
from tests.frames import bronze_rows, frame_table

RECEIVED = 1723161255400000
BINANCE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT",'
    b'"t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true}}'
)
BARE = BINANCE[len(b'{"stream":"btcusdt@trade","data":') : -1]
AGGREGATED = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT",'
    b'"a":9,"p":"61837.63","q":"0.3","f":100,"l":102,"T":1723161255342,"m":false}}'
)
KRAKEN_TRADE = (
    b'{"symbol":"BTC/USD","side":"buy","price":68580.0,"qty":0.14225864,"ord_type":"limit",'
    b'"trade_id":72166031,"timestamp":"2024-08-08T21:16:00.512060Z"}'
)
KRAKEN = b'{"channel":"trade","type":"update","data":[%s]}' % KRAKEN_TRADE
KRAKEN_TWO = b'{"channel":"trade","type":"snapshot","data":[%s,%s]}' % (KRAKEN_TRADE, KRAKEN_TRADE)
COINBASE = (
    b'{"type":"match","trade_id":10,"sequence":50,"maker_order_id":"ac928c66","side":"sell",'
    b'"taker_order_id":"132fb6ae","time":"2024-08-08T21:16:00.512060Z","product_id":"BTC-USD",'
    b'"size":"5.23512","price":"61837.63"}'
)
BITSTAMP = (
    b'{"data":{"id":351267343,"timestamp":"1723161255","amount":0.02,"amount_str":"0.02000000",'
    b'"price":61837,"price_str":"61837.00","type":1,"microtimestamp":"1723161255342041",'
    b'"buy_order_id":1,"sell_order_id":2},"channel":"live_trades_btcusd","event":"trade"}'
)
COINM = BINANCE.replace(b"btcusdt", b"btcusd_perp").replace(b"BTCUSDT", b"BTCUSD_PERP")
BOOK_TICKER = (
    b'{"stream":"btcusdt@bookTicker","data":'
    b'{"u":400900217,"s":"BTCUSDT","b":"61837.63","B":"31.21","a":"61837.64","A":"1.5"}}'
)
TICKER = (
    b'{"type":"ticker","sequence":37475248783,"product_id":"BTC-USD","price":"61837.63",'
    b'"best_bid":"61837.00","best_bid_size":"0.4","best_ask":"61838.00","best_ask_size":"1.5",'
    b'"side":"buy","time":"2024-08-08T21:16:00.512060Z","trade_id":370843401}'
)
BOOK = (
    b'{"data":{"timestamp":"1723161255","microtimestamp":"1723161255342041",'
    b'"bids":[["61837.00","0.4"],["61836.00","1"]],"asks":[["61838.00","1.5"]]},'
    b'"channel":"order_book_btcusd","event":"data"}'
)
LEVEL_1 = b'{"channel":"ticker","type":"update","data":[%s]}'
BBO = (
    b'{"symbol":"BTC/USD","bid":61837.0,"bid_qty":2.5,"ask":61838.0,"ask_qty":3.2,"last":1,'
    b'"timestamp":"2024-08-08T21:16:00.512060Z"}'
)
USUAL = {
    "binance": [BINANCE, BARE, AGGREGATED, b'{"result":null,"id":1}', b'{"lastUpdateId":1}'],
    "binance_usdm": [BINANCE, BINANCE.replace(b'"m":', b'"X":"NA","m":'), AGGREGATED],
    "binance_coinm": [COINM, COINM.replace(b'"m":', b'"X":"NA","m":'), AGGREGATED],
    "coinbase": [
        COINBASE,
        COINBASE.replace(b"match", b"last_match"),
        b'{"type":"heartbeat","last_trade_id":10,"product_id":"BTC-USD","sequence":51}',
        b'{"type":"ticker","product_id":"BTC-USD"}',
    ],
    "bitstamp": [
        BITSTAMP,
        b'{"event":"bts:request_reconnect","channel":"","data":null}',
        b'{"data":{"bids":[],"asks":[]},"channel":"order_book_btcusd","event":"data"}',
    ],
    "kraken": [KRAKEN, KRAKEN_TWO, b'{"channel":"heartbeat"}', b'{"channel":"book","data":[]}'],
}
# Quotes, and a frame in which only one row or side can be read.
QUOTES = {
    "binance": [BOOK_TICKER, BOOK_TICKER[len(b'{"stream":"btcusdt@bookTicker","data":') : -1]],
    "binance_usdm": [BOOK_TICKER.replace(b'"u":', b'"e":"bookTicker","T":1723161255342,"u":')],
    "binance_coinm": [BOOK_TICKER.replace(b'"61837.64","A":"1.5"', b'"0","A":"0"')],
    "coinbase": [TICKER],
    "bitstamp": [BOOK, BOOK.replace(b'[["61838.00","1.5"]]', b"[]")],
    "kraken": [LEVEL_1 % BBO, LEVEL_1 % (BBO + b"," + BBO.replace(b"61838.0", b"0"))],
}


def table(payloads: list[bytes], received_us: int = RECEIVED) -> pa.Table:
    return bronze_rows(frame_table([(p, received_us) for p in payloads]))


def parse(exchange: str, *payloads: bytes, kind: Kind = Kind.TRADES) -> Parsed:
    return parsing.parse(exchange, kind, table(list(payloads)))


def assert_none_is_lost(parsed: Parsed, frames: int, kind: Kind = Kind.TRADES) -> None:
    rows = pa.concat_tables(
        [t.select(["kafka_offset", "frame_index"]) for t in (parsed.rows, parsed.rejected)]
    ).to_pylist()
    assert len({(row["kafka_offset"], row["frame_index"]) for row in rows}) == len(rows)
    told = {row["kafka_offset"] for row in rows}
    assert len(told) + parsed.control + parsed.other == frames
    assert parsed.rows.schema.equals(kind.record.schema)
    assert parsed.rejected.schema.equals(REJECTED.schema)
    parsed.rows.validate(full=True)
    parsed.rejected.validate(full=True)


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ((b'"61837.63000000"', b'"-1"'), "price_not_positive", "'-1.00000000'"),
        ((b'"61837.63000000"', b'"0"'), "price_not_positive", "'0.00000000'"),
        ((b'"0.02000000"', b'"0.00"'), "quantity_not_positive", "'0.00000000'"),
        ((b'"61837.63000000"', b'"x"'), "bad_decimal", "price is no decimal number"),
        ((b'"61837.63000000"', b'""'), "bad_decimal", "found ''"),
        ((b'"61837.63000000"', b'"10000000000"'), "bad_decimal", "'10000000000'"),
        ((b'"61837.63000000"', b'"1.123456789"'), "bad_decimal", "'1.123456789'"),
        ((b'"0.02000000"', b'"NaN"'), "bad_decimal", "quantity"),
        ((b'"0.02000000"', b'"1' + b"0" * 20 + b'"'), "bad_decimal", "quantity"),
        ((b'"61837.63000000"', b"61837.63"), "wrong_type", "at $.data.p, found '61837.63'"),
        ((b'"p":"61837.63000000",', b""), "missing_field", "`p` at $.data"),
        ((b'"BTCUSDT"', b'"BTCWHAT"'), "unreadable_symbol", "'BTCWHAT'"),
        ((b'"BTCUSDT"', b'""'), "unreadable_symbol", "''"),
        ((b"true", b'"yes"'), "wrong_type", "Expected `bool`, got `str` at $.data.m"),
        ((b"3735683259", b"9223372036854775808"), "out_of_range", "9223372036854775808"),
        ((b"3735683259", b"-1"), "out_of_range", "found -1"),
        ((b'"T":1723161255342', b'"T":1293839999999'), "time_too_early", "2010-12-31 23:59:59"),
        ((b'"T":1723161255342', b'"T":1723161255'), "time_too_early", "1970-01-20"),
        ((b'"T":1723161255342', b'"T":1723164855401'), "time_in_future", "2024-08-09 00:54:15"),
        ((b'"T":1723161255342', b'"T":1723161255342000000'), "out_of_range", "data.T"),
        ((b'{"e":"trade"', b'{"e":"newTrade"'), "unknown_frame", "'stream', 'data'"),
        ((b'"m":true}}', b'"m":true'), "malformed_json", "truncated"),
        ((b'{"stream"', b'x{"stream"'), "malformed_json", "invalid character"),
        ((b"btcusdt@trade", b"btcusdt@trade\n"), "malformed_json", "invalid character"),
        ((BINANCE, b""), "malformed_json", "truncated"),
        ((BINANCE, b"\xff\xfe\x00"), "malformed_json", "invalid"),
        ((BINANCE, b"[" * 200_000), "malformed_json", "recursion"),
        ((BINANCE, b'{"id":' + b"9" * 10_000 + b"}"), "malformed_json", "out of range"),
        ((BINANCE, b'{"e":NaN}'), "malformed_json", "invalid character"),
        ((BINANCE, b'{"a":1}\n{"b":2}'), "malformed_json", "trailing"),
        ((BINANCE, b"null"), "unknown_frame", "None"),
    ],
)
def test_a_bad_frame_is_rejected_with_its_reason_and_its_neighbours_are_untouched(
    change: tuple[bytes, bytes], reason: str, detail: str
) -> None:
    assert change[0] in BINANCE
    bad = BINANCE.replace(*change)
    parsed = parse("binance", BINANCE, bad, AGGREGATED, BINANCE)
    (rejected,) = parsed.rejected.to_pylist()
    assert rejected["reason"] == reason
    assert detail in rejected["detail"]
    assert len(rejected["detail"]) < 400
    assert (rejected["kafka_offset"], rejected["payload"]) == (1, bad)
    assert (rejected["exchange"], rejected["kind"]) == ("binance", "trades")
    whole = parse("binance", BINANCE, BINANCE, AGGREGATED, BINANCE)
    kept = pc.not_equal(whole.rows["kafka_offset"], 1)
    assert parsed.rows.equals(whole.rows.filter(kept))


def test_an_hour_of_clock_difference_and_the_first_day_are_allowed() -> None:
    hour = BINANCE.replace(b'"T":1723161255342', b'"T":1723164855400')
    first = BINANCE.replace(b'"T":1723161255342', b'"T":1293840000000')
    assert len(parse("binance", hour, first).rows) == 2


def test_the_place_of_a_frame_in_kafka_is_kept_whatever_its_order() -> None:
    frames = table([KRAKEN_TWO, b"x", KRAKEN, b"{}", KRAKEN_TWO]).take([4, 3, 2, 1, 0])
    parsed = parsing.parse("kraken", Kind.TRADES, frames)
    assert parsed.rows["kafka_offset"].to_pylist() == [4, 4, 2, 0, 0]
    assert parsed.rows["frame_index"].to_pylist() == [0, 1, 0, 0, 1]
    assert parsed.rejected["kafka_offset"].to_pylist() == [3, 1]
    assert parsed.rejected["frame_index"].to_pylist() == [-1, -1]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("exchange", ADAPTERS)
def test_no_frames_give_empty_tables(exchange: str, kind: Kind) -> None:
    parsed = parsing.parse(exchange, kind, RAW_FRAME.schema.empty_table())
    assert_none_is_lost(parsed, 0, kind)


@pytest.mark.parametrize("exchange", ADAPTERS)
def test_frames_of_the_other_kind_are_counted_and_never_rows(exchange: str) -> None:
    quotes, trades = QUOTES[exchange], USUAL[exchange][:1]
    for kind, foreign in ((Kind.TRADES, quotes), (Kind.QUOTES, trades)):
        parsed = parse(exchange, *foreign, kind=kind)
        assert (len(parsed.rows), len(parsed.rejected)) == (0, 0)
        assert (parsed.control, parsed.other) == (0, len(foreign))


def test_an_unknown_exchange_is_named() -> None:
    with pytest.raises(UnknownName, match="unknown exchange 'mtgox'"):
        parse("mtgox", BINANCE)


@st.composite
def _mutated(draw: st.DrawFn, frames: list[bytes]) -> bytes:
    """A usual frame with some bytes deleted, replaced or doubled; often still JSON."""
    payload = draw(st.sampled_from(frames))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(payload)))
        end = min(len(payload), start + draw(st.integers(0, 12)))
        piece = st.sampled_from([b"", b"0", b"-", b"9" * 25, b'"', b"null", b"{}", b"\n", b"\xff"])
        payload = payload[:start] + draw(piece | st.just(payload[start:end] * 2)) + payload[end:]
    return payload


def _batches(exchange: str) -> st.SearchStrategy[list[bytes]]:
    usual = USUAL[exchange] + QUOTES[exchange]
    one = st.one_of(st.sampled_from(usual), _mutated(usual), st.binary())
    return st.lists(one, max_size=8)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("exchange", ADAPTERS)
def test_a_batch_gives_what_its_frames_give_alone(exchange: str, kind: Kind) -> None:
    @settings(max_examples=150, deadline=None)
    @given(_batches(exchange))
    def check(payloads: list[bytes]) -> None:
        frames = table(payloads)
        parsed = parsing.parse(exchange, kind, frames)
        assert_none_is_lost(parsed, len(payloads), kind)
        alone = [parsing.parse(exchange, kind, frames.slice(i, 1)) for i in range(len(payloads))]
        assert parsed.control == sum(one.control for one in alone)
        assert parsed.other == sum(one.other for one in alone)
        empty = Parsed(kind.record.schema.empty_table(), REJECTED.schema.empty_table(), 0, 0)
        for name in ("rows", "rejected"):
            parts = pa.concat_tables([getattr(one, name) for one in (*alone, empty)])
            assert getattr(parsed, name).equals(parts)

    check()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["e", "s", "data", "channel", "stream", "T", "type", "event"]), inner
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("exchange", ADAPTERS)
def test_no_document_makes_an_adapter_raise(exchange: str) -> None:
    venue = adapter(exchange)

    @settings(max_examples=150, deadline=None)
    @given(_JSON.map(lambda found: json.dumps(found).encode()) | st.binary())
    def check(payload: bytes) -> None:
        venue.classify(payload)
        venue.answers(payload)
        venue.announces_close(payload)
        for kind in Kind:
            assert_none_is_lost(parse(exchange, payload, kind=kind), 1, kind)

    check()
