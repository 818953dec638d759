"""Trades asked of a simulated exchange by REST are those that its sockets would have told."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from k2_feeds.adapters import adapter
from k2_feeds.histories import Recovery, headers
from k2_feeds.histories.history import Wanted
from k2_feeds.kafka.frame import Frame
from k2_feeds.parsing.frames import parse
from k2_feeds.rest import RestClient
from k2_feeds.simulator.exchange import Simulator
from k2_feeds.simulator.synthetic import Fill
from k2_market.errors import RequestRefused
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.frames import bronze_rows
from tests.simulations import as_received, simulator

SYMBOLS = {
    "binance": "BTC-USDT",
    "binance_usdm": "ETH-USDT",
    "binance_coinm": "BTC-USD-PERP",
    "kraken": "BTC-USD",
    "coinbase": "ETH-USD",
}
LONG_AGO = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
RECEIVED_US = 1_800_000_000_000_000
# What a REST answer has no word for, or says in another place.
_BY_NATURE = {
    "event_time",
    "ingestion_timestamp",
    "vendor_data",
    *("epoch", "kafka_partition", "kafka_offset", "frame_index", "ingest_date"),
}


@pytest.fixture(scope="module")
def served() -> object:
    with simulator(tuple(SYMBOLS.values()), rate=4000) as running:
        while min(len(running.exchanges[e].history.get(s, ())) for e, s in SYMBOLS.items()) < 2500:
            time.sleep(0.02)
        running.rate = 0
        yield running


def _fills(served: Simulator, exchange: str) -> list[Fill]:
    return list(served.exchanges[exchange].history[SYMBOLS[exchange]])


def _wanted(exchange: str, fills: list[Fill], first: int, last: int) -> Wanted:
    def at(fill: Fill) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=fill.time_us)

    return Wanted(
        adapter(exchange).exchange_symbol(SYMBOLS[exchange]),
        fills[first].trade_id,
        fills[last].trade_id,
        at(fills[first - 1]),
        at(fills[last + 1]),
    )


def _recover(
    served: Simulator, exchange: str, wanted: Wanted, key: str = ""
) -> tuple[Recovery, list[Frame]]:
    more = headers(exchange, {"K2_BINANCE_API_KEY": key})
    with RestClient(exchange, served.endpoint, headers=more, sleep=lambda _: None) as client:
        recovery = Recovery(client, wanted, with_key=bool(more), received_at_us=RECEIVED_US)
        return recovery, [frame for frame, _ in recovery.frames()]


def _trades(exchange: str, payloads: list[bytes], origin: str) -> list[dict[str, object]]:
    frames = as_received([(p, RECEIVED_US) for p in payloads], exchange)
    at = frames.schema.get_field_index("origin")
    frames = frames.set_column(at, frames.schema.field(at), [[origin] * len(payloads)])
    parsed = parse(exchange, Kind.TRADES, bronze_rows(frames))
    assert parsed.rejected.num_rows == 0
    columns = [c for c in TRADE.columns if c not in _BY_NATURE]
    return parsed.rows.select(columns).sort_by("source_sequence").to_pylist()


@pytest.mark.parametrize("exchange", SYMBOLS)
def test_the_trades_wanted_come_page_by_page_each_once_and_none_besides(
    served: Simulator, exchange: str
) -> None:
    fills = _fills(served, exchange)
    wanted = _wanted(exchange, fills, 50, 2300)
    recovery, frames = _recover(served, exchange, wanted, key="any")
    assert (recovery.found, recovery.reason) == (2251, "")
    assert len({f.sequence for f in frames}) == len(frames) == 2251
    dialect = served.exchanges[exchange].dialect
    told = dialect.trades(dialect.paths[0], SYMBOLS[exchange], [fills[50:2301]])
    live = _trades(exchange, [t.encode() for t in told], "live")
    assert _trades(exchange, [f.payload for f in frames], "archive") == live


def test_asked_twice_the_frames_are_the_same(served: Simulator) -> None:
    wanted = _wanted("kraken", _fills(served, "kraken"), 50, 70)
    assert _recover(served, "kraken", wanted)[1] == _recover(served, "kraken", wanted)[1]


@pytest.mark.parametrize("exchange", ["binance_usdm", "binance_coinm"])
def test_without_a_key_futures_give_aggregated_trades_and_none_beyond_the_gap(
    served: Simulator, exchange: str
) -> None:
    fills = _fills(served, exchange)
    wanted = _wanted(exchange, fills, 50, 2300)
    recovery, frames = _recover(served, exchange, wanted)
    rows = _trades(exchange, [f.payload for f in frames], "archive")
    assert all(str(row["trade_id"]).startswith("agg:") for row in rows)
    ids = [
        n
        for row in rows
        for n in range(
            int(str(row["source_sequence"])) - int(str(row["trade_count"])) + 1,
            int(str(row["source_sequence"])) + 1,
        )
    ]
    assert len(ids) == len(set(ids)) == recovery.found
    assert set(ids) <= {f.trade_id for f in fills[50:2301]}
    assert recovery.found == 2251 or "K2_BINANCE_API_KEY" in recovery.reason


def test_a_history_without_the_trades_says_so(served: Simulator) -> None:
    fills = _fills(served, "binance")
    wanted = Wanted("BTCUSDT", 1, 5, *LONG_AGO)
    recovery, frames = _recover(served, "binance", wanted)
    assert fills[0].trade_id > 5
    assert (frames, recovery.found) == ([], 0)
    assert recovery.reason == "binance: its history has no trades with these ids"


def test_bitstamp_cannot_be_asked(served: Simulator) -> None:
    wanted = Wanted("btcusd", 1, 5, *LONG_AGO)
    recovery, frames = _recover(served, "bitstamp", wanted)
    assert frames == []
    assert "no history that is asked by trade ids" in recovery.reason


def test_an_unknown_symbol_is_refused_in_the_exchanges_words(served: Simulator) -> None:
    wanted = Wanted("NOPEUSD", 1, 5, *LONG_AGO)
    with pytest.raises(RequestRefused, match="Unknown symbol"):
        _recover(served, "coinbase", wanted)
