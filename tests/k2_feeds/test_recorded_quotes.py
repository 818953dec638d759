"""Recorded quotes of the exchanges, against a plain reading of the same lines."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from k2_feeds.adapter import Channel
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.parsing import frames as parsing
from k2_feeds.parsing.frames import Parsed
from k2_market.kinds import Kind
from tests.frames import bronze_rows, frame_table

# For frames whose tape says no time: later than any of them.
LATER = 1_800_000_000_000_000
# The numbers were counted with grep.
RECORDED = {
    "binance_spot/btcusdt_20240808.gz": ("binance", 28_040),
    "binance_spot/btcusdt_20240809.gz": ("binance", 45_134),
    "binance_spot/ethusdt_20240808.gz": ("binance", 24_077),
    "binance_spot/ethusdt_20240809.gz": ("binance", 34_681),
    "binance_usdm/usdm_btcusdt_20240808.gz": ("binance_usdm", 66_089),
    "binance_usdm/usdm_ethusdt_20240808.gz": ("binance_usdm", 53_992),
    "sessions/cryptofeed_BINANCE.ws.1.0.jsonl.gz": ("binance", 84),
    "sessions/cryptofeed_BINANCE_US.ws.1.0.jsonl.gz": ("binance", 128),
    "sessions/cryptofeed_BINANCE_FUTURES.ws.1.0.jsonl.gz": ("binance_usdm", 613),
}


def parse(exchange: str, frames: list[tuple[bytes, int]]) -> Parsed:
    return parsing.parse(exchange, Kind.QUOTES, bronze_rows(frame_table(frames)))


def assert_none_is_lost(parsed: Parsed, frames: int) -> None:
    told = {
        *parsed.rows["kafka_offset"].to_pylist(),
        *parsed.rejected["kafka_offset"].to_pylist(),
    }
    assert len(told) + parsed.control + parsed.other == frames


def _frames(path: Path) -> list[tuple[bytes, int]]:
    """Payload and time of receipt in microseconds; lines of both forms of tape."""
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as tape:
        lines = tape.readlines()
    for line in lines:
        if line.startswith("{"):
            entry = json.loads(line)
            if entry["dir"] == "recv":
                found.append((entry["raw"].encode(), int(Decimal(entry["t"]) * 1_000_000)))
        else:
            stamp, _, text = line.rstrip("\n").partition(" ")
            found.append((text.encode(), int(stamp) // 1000))
    return found


def _expected(offset: int, frame: tuple[bytes, int]) -> tuple[Any, ...]:
    """What the row of a bookTicker must say."""
    payload, received_us = frame
    data = json.loads(payload)["data"]
    times = [data[name] * 1000 if name in data else None for name in ("T", "E")]
    numbers = [Decimal(data[name]) for name in ("b", "B", "a", "A")]
    stated = received_us if times[0] is None else times[0]
    return (offset, data["s"], str(data["u"]), data["u"], stated, times[1], received_us, *numbers)


def _rows(quotes: pa.Table) -> list[tuple[Any, ...]]:
    columns = ["kafka_offset", "exchange_symbol", "quote_id", "source_sequence"]
    times = ["timestamp", "event_time", "ingestion_timestamp"]
    numbers = ["bid_price", "bid_quantity", "ask_price", "ask_quantity"]
    cells = [quotes[name].to_pylist() for name in columns]
    cells += [quotes[name].cast(pa.int64()).to_pylist() for name in times]
    cells += [quotes[name].to_pylist() for name in numbers]
    return list(zip(*cells, strict=True))


@pytest.mark.data
@pytest.mark.parametrize("file", RECORDED)
def test_every_recorded_quote_comes_out_as_it_was_written(shared_data: Path, file: str) -> None:
    exchange, number = RECORDED[file]
    frames = _frames(shared_data / file)
    parsed = parse(exchange, frames)
    assert_none_is_lost(parsed, len(frames))
    assert parsed.rejected.to_pylist() == []
    places = [i for i, (payload, _) in enumerate(frames) if b'@bookTicker","data"' in payload]
    assert len(places) == number
    assert _rows(parsed.rows) == [_expected(i, frames[i]) for i in places]


@pytest.mark.data
@pytest.mark.parametrize("file", RECORDED)
def test_recorded_quotes_grow_in_their_ids_and_never_cross(shared_data: Path, file: str) -> None:
    quotes = parse(RECORDED[file][0], _frames(shared_data / file)).rows
    assert quotes["quote_conditions"].null_count == len(quotes)
    ids: dict[str, list[int]] = defaultdict(list)
    for symbol, update in zip(
        quotes["symbol"].to_pylist(), quotes["source_sequence"].to_pylist(), strict=True
    ):
        ids[symbol].append(update)
    assert all(later > earlier for updates in ids.values() for earlier, later in pairwise(updates))


def _odd_messages(folder: Path, venue: str) -> list[tuple[bytes, int]]:
    lines = (folder / "odd_messages.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [(e["raw"].encode(), LATER) for e in entries if e["venue"].startswith(venue)]


@pytest.mark.data
@pytest.mark.parametrize("exchange", ADAPTERS)
def test_odd_messages_are_all_accounted_for(shared_data: Path, exchange: str) -> None:
    frames = _odd_messages(shared_data, exchange.partition("_")[0].upper())
    parsed = parse(exchange, frames)
    assert_none_is_lost(parsed, len(frames))
    refused = set(parsed.rejected["payload"].to_pylist())
    unknown = {p for p, _ in frames if adapter(exchange).classify(p).channel is Channel.UNKNOWN}
    assert unknown <= refused


@pytest.mark.data
def test_odd_book_tickers_are_read_inside_and_outside_of_combined_streams(
    shared_data: Path,
) -> None:
    frames = _odd_messages(shared_data, "BINANCE")
    rows = parse("binance_coinm", frames).rows
    assert [
        (row["symbol"], row["quote_id"], str(row["bid_price"]), str(row["ask_quantity"]))
        for row in rows.to_pylist()
    ] == [
        ("BTC-USDT", "19575390521", "29010.90000000", "3.99953000"),
        ("XMR-USD-PERP", "462118190224", "172.74000000", "25.00000000"),
        ("ETH-USDT", "1553413152520", "1778.54000000", "7.28900000"),
        ("BNB-USDT", "400900217", "25.35190000", "40.66000000"),
    ]


@pytest.mark.data
def test_an_older_ticker_without_sizes_is_rejected_for_what_it_lacks(shared_data: Path) -> None:
    rejected = parse("coinbase", _odd_messages(shared_data, "COINBASE")).rejected.to_pylist()
    assert [(row["reason"], row["detail"]) for row in rejected] == [
        ("missing_field", "Object missing required field `best_bid_size` at $")
    ]


@pytest.mark.data
def test_the_best_level_of_a_captured_book_is_the_quote(shared_data: Path) -> None:
    parsed = parse("bitstamp", _odd_messages(shared_data, "BITSTAMP"))
    (row,) = parsed.rows.to_pylist()
    assert (row["symbol"], row["quote_id"]) == ("BTC-USD", "1653978373164007")
    assert (row["bid_price"], row["bid_quantity"]) == (Decimal("31524.50"), Decimal("0.364"))
    assert (row["ask_price"], row["ask_quantity"]) == (Decimal("31535.44"), Decimal("0.31708837"))
    assert parsed.rejected.to_pylist() == []


@pytest.mark.data
def test_the_documented_ticker_of_kraken_is_a_quote(shared_data: Path) -> None:
    lines = (shared_data / "kraken_v2/doc_and_malformed_frames.jsonl").read_text().splitlines()
    parsed = parse("kraken", [(json.loads(line)["raw"].encode(), LATER) for line in lines])
    assert_none_is_lost(parsed, len(lines))
    (row,) = parsed.rows.to_pylist()
    assert (row["symbol"], row["bid_price"], row["ask_price"]) == (
        "BTC-USD",
        Decimal("105944.2"),
        Decimal("105944.3"),
    )
    assert str(row["timestamp"]) == "2022-12-25 09:30:59.123456+00:00"
