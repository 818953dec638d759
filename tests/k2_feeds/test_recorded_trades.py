"""Recorded frames of the exchanges, against what independent code read in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_feeds.adapter import Channel
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.parsing import frames as parsing
from k2_feeds.parsing.frames import Parsed
from k2_feeds.tapes import read_tape
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME
from tests.frames import bronze_rows, frame_table

RECEIVED = 1723161255400000
# For frames whose tape says no time: later than any of them.
LATER = 1_800_000_000_000_000


def table(payloads: list[bytes], received_us: int) -> pa.Table:
    return bronze_rows(frame_table([(p, received_us) for p in payloads]))


def assert_none_is_lost(parsed: Parsed, frames: int) -> None:
    told = {
        *parsed.rows["kafka_offset"].to_pylist(),
        *parsed.rejected["kafka_offset"].to_pylist(),
    }
    assert len(told) + parsed.control + parsed.other == frames


def _recorded(path: Path) -> pa.Table:
    """A tape as bronze rows; the offset is the place in the tape."""
    frames = [frame for batch in read_tape(path, RECEIVED) for frame in batch]
    columns = frame_table([(f.payload, RECEIVED) for f in frames])
    received = pa.array([f.received_at_us for f in frames], pa.int64()).cast(
        RAW_FRAME.schema.field("received_at").type
    )
    place = columns.schema.get_field_index("received_at")
    return bronze_rows(columns.set_column(place, columns.schema.field(place), received))


RECORDED = {
    "binance_spot/btcusdt_20240808.gz": "binance",
    "binance_spot/btcusdt_20240809.gz": "binance",
    "binance_spot/ethusdt_20240808.gz": "binance",
    "binance_spot/ethusdt_20240809.gz": "binance",
    "binance_usdm/usdm_btcusdt_20240808.gz": "binance_usdm",
    "binance_usdm/usdm_ethusdt_20240808.gz": "binance_usdm",
    "sessions/cryptofeed_BINANCE.ws.1.0.jsonl.gz": "binance",
    "sessions/cryptofeed_BINANCE_US.ws.1.0.jsonl.gz": "binance",
    "sessions/cryptofeed_BINANCE_FUTURES.ws.1.0.jsonl.gz": "binance_usdm",
}


def _comparable(row: dict[str, Any]) -> tuple[Any, ...]:
    prefix = "agg:" if row["aggregated"] else ""
    return (
        row["symbol"],
        prefix + row["trade_id"],
        Decimal(row["price"]),
        Decimal(row["qty"]),
        row["taker_side"],
        row["trade_time_us"],
        row["event_time_us"],
        None if row["exec_type"] in (None, "MARKET") else [row["exec_type"]],
    )


@pytest.mark.data
@pytest.mark.parametrize("file", RECORDED)
def test_every_recorded_trade_comes_out_as_independent_code_read_it(
    shared_data: Path, file: str
) -> None:
    frames = _recorded(shared_data / file)
    parsed = parsing.parse(RECORDED[file], Kind.TRADES, frames)
    assert_none_is_lost(parsed, len(frames))
    assert parsed.rejected.to_pylist() == []
    expected = pq.read_table(shared_data / "expected_trades.parquet", filters=[("file", "=", file)])
    trades = parsed.rows
    found = zip(
        trades["exchange_symbol"].to_pylist(),
        trades["trade_id"].to_pylist(),
        trades["price"].to_pylist(),
        trades["quantity"].to_pylist(),
        trades["side"].to_pylist(),
        trades["timestamp"].cast(pa.int64()).to_pylist(),
        trades["event_time"].cast(pa.int64()).to_pylist(),
        trades["trade_conditions"].to_pylist(),
        strict=True,
    )
    assert sorted(found) == sorted(_comparable(row) for row in expected.to_pylist())
    # The expected receive times passed through a double: right to 256 ns.
    ours = sorted(trades["ingestion_timestamp"].cast(pa.int64()).to_pylist())
    theirs = sorted(ns // 1000 for ns in expected["recv_time_ns"].to_pylist())
    assert all(abs(a - b) <= 1 for a, b in zip(ours, theirs, strict=True))


@pytest.mark.data
def test_the_last_of_an_aggregated_trade_orders_it_and_its_span_is_counted(
    shared_data: Path,
) -> None:
    parsed = parsing.parse(
        "binance_usdm",
        Kind.TRADES,
        _recorded(shared_data / "sessions/cryptofeed_BINANCE_FUTURES.ws.1.0.jsonl.gz"),
    )
    for row in parsed.rows.to_pylist():
        ids = dict(row["vendor_data"])
        first, last = int(ids["first_trade_id"]), int(ids["last_trade_id"])
        assert (row["source_sequence"], row["trade_count"]) == (last, last - first + 1)


def _odd_messages(folder: Path, accept: Callable[[str], bool]) -> list[bytes]:
    lines = (folder / "odd_messages.jsonl").read_text().splitlines()
    return [e["raw"].encode() for e in map(json.loads, lines) if accept(e["venue"])]


@pytest.mark.data
@pytest.mark.parametrize("exchange", ADAPTERS)
def test_odd_messages_are_all_accounted_for(shared_data: Path, exchange: str) -> None:
    venue = exchange.partition("_")[0].upper()
    payloads = _odd_messages(shared_data, lambda name: name.startswith(venue))
    parsed = parsing.parse(exchange, Kind.TRADES, table(payloads, LATER))
    assert_none_is_lost(parsed, len(payloads))
    refused = set(parsed.rejected["payload"].to_pylist())
    unknown = {p for p in payloads if adapter(exchange).classify(p).channel is Channel.UNKNOWN}
    assert unknown <= refused


@pytest.mark.data
@pytest.mark.parametrize(
    ("exchange", "venue", "trades", "control", "other"),
    [
        ("coinbase", "COINBASE", 4, 2, 4),
        ("bitstamp", "BITSTAMP", 0, 2, 1),
        ("binance_coinm", "BINANCE_DELIVERY", 0, 0, 1),
    ],
)
def test_odd_messages_are_what_they_are(
    shared_data: Path, exchange: str, venue: str, trades: int, control: int, other: int
) -> None:
    payloads = _odd_messages(shared_data, lambda name: name == venue)
    parsed = parsing.parse(exchange, Kind.TRADES, table(payloads, LATER))
    found = (len(parsed.rows), parsed.control, parsed.other, parsed.rejected.to_pylist())
    assert found == (trades, control, other, [])


@pytest.mark.data
def test_the_side_of_a_recorded_match_is_turned_to_the_takers(shared_data: Path) -> None:
    parsed = parsing.parse(
        "coinbase",
        Kind.TRADES,
        table(_odd_messages(shared_data, lambda name: name == "COINBASE"), LATER),
    )
    columns = ("exchange_symbol", "trade_id", "price", "quantity", "side")
    assert [tuple(map(str, map(row.get, columns))) for row in parsed.rows.to_pylist()] == [
        ("BAND-GBP", "881613", "14.77750000", "0.04000000", "buy"),
        ("SKL-GBP", "82007", "0.57520000", "1008.20000000", "sell"),
        ("BTC-USD", "147587438", "57786.82000000", "0.00031874", "buy"),
        ("BTC-USD", "10", "400.23000000", "5.23512000", "buy"),
    ]


@pytest.mark.data
def test_captured_kraken_frames_are_trades_or_control(shared_data: Path) -> None:
    parsed = parsing.parse(
        "kraken", Kind.TRADES, _recorded_at(shared_data / "kraken_v2/real_frames.jsonl")
    )
    assert_none_is_lost(parsed, 7)
    assert (len(parsed.rejected), parsed.control, parsed.other) == (0, 3, 0)
    assert parsed.rows["trade_id"].to_pylist() == [
        "72166031",
        "9622656",
        "9622657",
        "9622658",
        "105702534",
        "107612614",
    ]
    assert [str(q) for q in parsed.rows["quantity"].to_pylist()][:2] == [
        "0.14225864",
        "0.00409283",
    ]


@pytest.mark.data
def test_documented_and_broken_kraken_frames_get_their_reasons(shared_data: Path) -> None:
    path = shared_data / "kraken_v2/doc_and_malformed_frames.jsonl"
    parsed = parsing.parse("kraken", Kind.TRADES, _recorded_at(path))
    assert parsed.rows["trade_id"].to_pylist() == ["10218208", "10218209"]
    assert sorted(parsed.rejected["reason"].to_pylist()) == [
        "bad_time",
        "malformed_json",
        "missing_field",
        "price_not_positive",
        "unknown_side",
    ]
    assert (parsed.control, parsed.other) == (5, 4)


def _recorded_at(path: Path) -> pa.Table:
    """A tape without times, received in 2027."""
    frames = [f for batch in read_tape(path, LATER) for f in batch]
    return table([f.payload for f in frames], frames[0].received_at_us)
