"""Quotes from bronze to gold: each once, the same by ticks and by recomputing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_feeds.simulator.dialects.binance import BinanceDialect
from k2_feeds.simulator.dialects.bitstamp import BitstampDialect
from k2_feeds.simulator.dialects.coinbase import CoinbaseDialect
from k2_feeds.simulator.dialects.dialect import Dialect
from k2_feeds.simulator.dialects.kraken import KrakenDialect
from k2_feeds.simulator.synthetic import Quote, SyntheticSymbol, quote_after
from k2_lake.tables import gold_name, silver_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from tests.frames import DAY0, frame_table, micros
from tests.lakes import LakeDriver

QUOTES_TABLE = gold_name(Kind.QUOTES)
LINEAGE = {"epoch", "kafka_partition", "kafka_offset", "frame_index", "ingest_date"}
DAY_MS = 86_400_000
Received = tuple[bytes, int]

_SERVERS: dict[str, Callable[[Callable[[str], bool]], Dialect]] = {
    "binance": BinanceDialect,
    "binance_usdm": partial(BinanceDialect, futures=True),
    "binance_coinm": partial(BinanceDialect, futures=True),
    "kraken": KrakenDialect,
    "coinbase": CoinbaseDialect,
    "bitstamp": BitstampDialect,
}


@dataclass(frozen=True)
class Best:
    """A quote as a test thinks of it; times count from DAY0."""

    update: int
    at_ms: int
    bid: str
    ask: str
    received_ms: int

    @property
    def received_us(self) -> int:
        return micros(DAY0) + self.received_ms * 1000

    def binance(self, exchange: str) -> bytes:
        data: dict[str, object] = {"u": self.update, "s": "BTCUSDT", "b": self.bid, "B": "1"}
        data |= {"a": self.ask, "A": "0.5"}
        if exchange == "binance_usdm":
            data |= {"e": "bookTicker", "T": micros(DAY0) // 1000 + self.at_ms}
        return json.dumps({"stream": "btcusdt@bookTicker", "data": data}).encode()


def receive(driver: LakeDriver, frames: Sequence[Received], exchange: str) -> None:
    if frames:
        first = driver.next_offset(exchange)
        table = frame_table(frames, first, exchange=exchange, kind=Kind.QUOTES)
        driver.receive_frames(table, exchange)


def days_of(driver: LakeDriver) -> list[date]:
    return sorted({row["quote_date"] for row in driver.rows(QUOTES_TABLE)})  # type: ignore[type-var,misc]


def _synthetic(exchange: str) -> list[Quote]:
    symbol = "BTC-USD-PERP" if exchange == "binance_coinm" else "BTC-USDT"
    market = SyntheticSymbol(symbol, micros(DAY0), seed=7)
    quotes = [quote_after(o[-1]) for o in market.advance(micros(DAY0) + 10_000_000, rate=20)]
    return [q for q, after in pairwise(quotes) if q.time_us < after.time_us]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_what_two_overlapping_connections_received_is_in_gold_once(
    tmp_path: Path, exchange: str
) -> None:
    server, quotes = _SERVERS[exchange](lambda _: True), _synthetic(exchange)
    symbol = "BTC-USD-PERP" if exchange == "binance_coinm" else "BTC-USDT"

    def delivered(part: Sequence[Quote], later_us: int) -> list[Received]:
        frames = [(server.quotes("/stream", symbol, [q]), q.time_us + later_us) for q in part]
        return [(text.encode(), at) for texts, at in frames for text in texts]

    cut, overlap = len(quotes) // 2, 20
    old, new = delivered(quotes[:cut], 4_000), delivered(quotes[cut - overlap :], 7_000)
    driver = LakeDriver(tmp_path, kind=Kind.QUOTES)
    between = len(old) - overlap // 2
    arrivals = [old[:between], [*new[:overlap], *old[between:]], new[overlap:]]
    for batch in arrivals:
        receive(driver, batch, exchange)
        driver.tick([exchange])
    assert len(driver.rows(silver_name(exchange, Kind.QUOTES))) == len(quotes) + overlap
    assert driver.rows("silver.rejected") == []
    found = sorted(driver.rows(QUOTES_TABLE), key=lambda row: str(row["timestamp"]))
    expected = [_expected(exchange, symbol, q, 4_000) for q in quotes[:cut]]
    expected += [_expected(exchange, symbol, q, 7_000) for q in quotes[cut:]]
    assert [_content(row) for row in found] == expected


def _content(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("exchange", "symbol", "bid_price", "bid_quantity", "ask_price", "ask_quantity")
    return (*(row[name] for name in names), row["timestamp"], row["quote_conditions"])


def _expected(exchange: str, symbol: str, quote: Quote, later_us: int) -> tuple[Any, ...]:
    """Spot says no time, so that of the first receipt stands; futures cut theirs to ms."""
    us = quote.time_us + later_us if exchange == "binance" else quote.time_us
    if exchange in ("binance_usdm", "binance_coinm"):
        us -= us % 1000
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    numbers = (quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity)
    return (exchange, symbol, *numbers, at, None)


_prices = st.integers(1, 500).map(str)
_quotes = st.builds(
    Best,
    update=st.integers(1, 30),
    at_ms=st.just(0),
    bid=_prices,
    ask=_prices,
    received_ms=st.integers(DAY_MS - 3, DAY_MS + 3),
)


def _timed(best: Best) -> Best:
    """The time is a property of the state: updates share milliseconds and spread over two days."""
    at_ms = best.update // 2 * (DAY_MS // 10) + 59_999
    return Best(best.update, at_ms, best.bid, best.ask, best.received_ms + DAY_MS)


def _same_content(best: Best) -> Best:
    """A repeat says the same again; when it was received may differ."""
    return Best(best.update, best.at_ms, str(best.update), str(31 - best.update), best.received_ms)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("exchange", ["binance", "binance_usdm"])
def test_ticks_equal_a_full_recompute_in_every_table(exchange: str) -> None:
    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.lists(_quotes.map(_timed), max_size=12), min_size=1, max_size=4))
    def check(arrivals: list[list[Best]]) -> None:
        with TemporaryDirectory() as home:
            driver = LakeDriver(Path(home), kind=Kind.QUOTES)
            for batch in arrivals:
                receive(driver, [(b.binance(exchange), b.received_us) for b in batch], exchange)
                driver.tick([exchange])
            ticked = driver.everything()
            driver.recompute(days_of(driver), [exchange])
            assert driver.everything() == ticked
            known = [(row["quote_date"], row["quote_id"]) for row in ticked[QUOTES_TABLE]]
            assert len(set(known)) == len(known)

    check()


@pytest.mark.timeout(300)
@settings(max_examples=12, deadline=None)
@given(st.lists(_quotes.map(_timed).map(_same_content), min_size=2, max_size=25), st.data())
def test_cut_repeated_and_reordered_frames_give_the_same_gold(
    quotes: list[Best], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(quotes)))
    overlap = data.draw(st.integers(0, cut))
    shuffled = data.draw(st.permutations(quotes))
    whole = _gold([quotes])
    assert len(whole) == len({quote.update for quote in quotes})
    assert _gold([quotes[:cut], quotes[cut - overlap :]]) == whole
    assert _gold([shuffled]) == whole


def _gold(arrivals: Sequence[Sequence[Best]]) -> list[dict[str, object]]:
    """Gold without the coordinates, which differ by nature."""
    with TemporaryDirectory() as home:
        driver = LakeDriver(Path(home), kind=Kind.QUOTES)
        for batch in arrivals:
            frames = [(best.binance("binance_usdm"), best.received_us) for best in batch]
            receive(driver, frames, "binance_usdm")
            driver.tick(["binance_usdm"])
        rows = driver.rows(QUOTES_TABLE)
        return [{k: v for k, v in row.items() if k not in LINEAGE} for row in rows]


def test_crossed_quotes_are_kept_flagged_and_empty_sides_are_rejected(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path, kind=Kind.QUOTES)
    best = [
        Best(1, 0, "10", "11", 0),
        Best(2, 0, "12", "11", 1),
        Best(3, 0, "11", "11", 2),
        Best(4, 0, "0", "11", 3),
    ]
    receive(driver, [(b.binance("binance"), b.received_us) for b in best], "binance")
    driver.tick()
    assert [(q["bid_price"], q["quote_conditions"]) for q in driver.rows(QUOTES_TABLE)] == [
        (Decimal(10), None),
        (Decimal(12), ["crossed"]),
        (Decimal(11), ["locked"]),
    ]
    (rejected,) = driver.rows("silver.rejected")
    assert (rejected["kind"], rejected["reason"]) == ("quotes", "bid_price_not_positive")
    assert rejected["kafka_offset"] == 3


def test_a_repeat_of_a_quote_without_any_time_is_found_within_its_second(tmp_path: Path) -> None:
    row = b'{"symbol":"BTC/USD","bid":61837.0,"bid_qty":2.5,"ask":61838.0,"ask_qty":3.2}'
    frame = b'{"channel":"ticker","type":"update","data":[%s]}' % row
    driver = LakeDriver(tmp_path, kind=Kind.QUOTES)
    for at_us in (100_000, 103_000, 999_999, 1_000_000):
        receive(driver, [(frame, micros(DAY0) + at_us)], "kraken")
        driver.tick(["kraken"])
    found = [row["timestamp"] for row in driver.rows(QUOTES_TABLE)]
    assert found == [DAY0 + timedelta(microseconds=us) for us in (100_000, 1_000_000)]
