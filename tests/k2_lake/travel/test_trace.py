"""A candle is followed to its trades, to silver, to the frames, and to who brought them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from k2_lake.commit import commit
from k2_lake.gold import merge
from k2_lake.history import Mode, lineage
from k2_lake.scan import planned
from k2_lake.silver import refine
from k2_lake.tables import TRADES_TABLE
from k2_lake.travel.trace import Trace, trace_candle, trace_trade
from k2_lake.travel.trace_lookup import find_candle, find_trade
from k2_market.errors import UnknownName, UsageError
from k2_market.kinds import Kind
from k2_market.records import CANDLE, TRADE
from k2_market.timeframes import TIMEFRAMES, timeframe
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver, parser

DAY = DAY0.date()
FIRST = "2024-08-08T00:00:00Z"
SILVER, BRONZE = "silver.binance_trades", "bronze.binance_trades"


@pytest.fixture
def driver(tmp_path: Path) -> LakeDriver:
    """Four trades in two minutes by two ticks; trade 2 came twice; one is in no candle."""
    made = LakeDriver(tmp_path)
    made.receive([Print(1, 0, "10", "1"), Print(2, 1000, "11", "2")])
    made.tick()
    made.receive(
        [
            Print(2, 1000, "11", "2", received_ms=9000),
            Print(3, 2000, "12", "1", execution="INSURANCE_FUND"),
            Print(4, 61_000, "13", "1"),
        ]
    )
    made.tick()
    return made


def traced(driver: LakeDriver, start: str = FIRST, name: str = "1m", limit: int = 10) -> Trace:
    frame = timeframe(name)
    candle = find_candle(driver.lake, driver.engine, frame, "binance", "BTCUSDT", start)
    return trace_candle(driver.lake, driver.engine, frame, candle, limit)


def brought(trace: Trace) -> list[tuple[str, int, str | None, int]]:
    return [(o.table, o.sequence, o.mode, o.rows) for o in trace.commits]


def test_a_candle_is_followed_to_the_bytes_and_the_commits(driver: LakeDriver) -> None:
    trace = traced(driver)
    assert trace.verified
    assert trace.candle is not None
    assert trace.candle["quote_volume"] == Decimal(32)
    assert [t.trade["trade_id"] for t in trace.trades] == ["1", "2", "3"]
    assert (trace.trades_in_all, trace.counted) == (3, 2)
    assert (trace.silver_in_all, trace.repeats) == (4, 1)
    offsets = [[r["kafka_offset"] for r in t.silver] for t in trace.trades]
    assert offsets == [[0], [1, 2], [3]]
    frames = [f for t in trace.trades for f in t.frames if f is not None]
    assert [f["payload"] for f in frames] == [
        r["payload"] for r in driver.rows(BRONZE) if r["kafka_offset"] in (0, 1, 2, 3)
    ]
    assert brought(trace) == [
        ("gold.ohlcv_1m", 1, "recompute", 1),
        (TRADES_TABLE, 1, "append", 2),
        (TRADES_TABLE, 2, "append", 1),
        (SILVER, 1, "append", 2),
        (SILVER, 2, "append", 2),
        (BRONZE, 1, "append", 2),
        (BRONZE, 2, "append", 2),
    ]
    ids = {o.snapshot_id for o in trace.commits if o.table == TRADES_TABLE}
    assert ids == {s.snapshot_id for s in lineage(driver.lake.table(TRADES_TABLE))}


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_every_timeframe_is_made_anew_from_the_trades(driver: LakeDriver, name: str) -> None:
    trace = traced(driver, name=name, limit=1)
    assert trace.verified
    assert len(trace.trades) == 1
    assert trace.trades_in_all == (3 if name == "1m" else 4)


def test_a_tick_under_way_shows_the_trades_that_the_candle_was_made_from(
    driver: LakeDriver,
) -> None:
    driver.receive([Print(5, 3000, "20", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    merge(driver.lake, driver.engine, Kind.TRADES, DAY)
    for name in TIMEFRAMES:
        trace = traced(driver, name=name)
        assert trace.verified
        assert "5" not in [t.trade["trade_id"] for t in trace.trades]


def test_commits_that_only_wrote_rows_again_are_seen_through(driver: LakeDriver) -> None:
    before = brought(traced(driver))
    for name, schema in ((TRADES_TABLE, TRADE.schema), ("gold.ohlcv_1m", CANDLE.schema)):
        table = driver.lake.table(name)
        old = planned(table, schema)
        rows = driver.engine.query("select * from f", {"f": old}, schema)
        commit(table, add=[rows], remove=old.files, mode=Mode.MAINTENANCE, days=())
    merge(driver.lake, driver.engine, Kind.TRADES, DAY, recompute=True)
    driver.receive([Print(6, 120_000, "9", "1")])
    driver.tick()
    trace = traced(driver)
    assert trace.verified
    assert brought(trace) == before


def test_where_history_has_expired_the_trace_says_so(driver: LakeDriver) -> None:
    table = driver.lake.table(TRADES_TABLE)
    old = planned(table, TRADE.schema)
    rows = driver.engine.query("select * from f", {"f": old}, TRADE.schema)
    commit(table, add=[rows], remove=old.files, mode=Mode.MAINTENANCE, days=())
    table.maintenance.expire_snapshots().by_ids(
        [s.snapshot_id for s in lineage(table)[1:]]
    ).commit()
    bronze = driver.lake.table(BRONZE)
    bronze.maintenance.expire_snapshots().by_id(lineage(bronze)[1].snapshot_id).commit()
    trace = traced(driver)
    assert trace.verified
    told = {(o.table, o.sequence): (o.mode, o.or_earlier) for o in trace.commits}
    assert told[TRADES_TABLE, 3] == ("maintenance", True)
    assert told[BRONZE, 1] == (None, True)
    assert told[BRONZE, 2] == ("append", False)


def test_a_candle_that_does_not_follow_from_its_trades_is_told(driver: LakeDriver) -> None:
    table = driver.lake.table("gold.ohlcv_1m")
    old = planned(table, CANDLE.schema)
    rows = driver.engine.query("select * from f order by window_start", {"f": old}, CANDLE.schema)
    at = rows.schema.get_field_index("high")
    wrong = pa.array([Decimal(99), Decimal(13)], rows.schema.field(at).type)
    rows = rows.set_column(at, rows.schema.field(at), wrong)
    commit(table, add=[rows], remove=old.files, mode=Mode.RECOMPUTE, days=[DAY])
    trace = traced(driver)
    assert not trace.verified
    assert trace.recomputed is not None
    assert trace.recomputed["high"] == Decimal(11)
    assert brought(trace)[0] == ("gold.ohlcv_1m", 3, "recompute", 1)


def test_a_trade_is_followed_too(driver: LakeDriver) -> None:
    found = find_trade(driver.lake, driver.engine, "BINANCE", "btc-usdt", "2")
    trace = trace_trade(driver.lake, driver.engine, found)
    assert (trace.verified, trace.candle, trace.trades_in_all, trace.repeats) == (True, None, 1, 1)
    assert [len(t.silver) for t in trace.trades] == [2]
    assert brought(trace)[0] == (TRADES_TABLE, 1, "append", 1)


@pytest.mark.parametrize(
    ("exchange", "symbol", "start", "error", "told"),
    [
        ("nowhere", "BTC-USDT", FIRST, UnknownName, "unknown exchange 'nowhere'"),
        ("binance", "ETH-USDT", FIRST, UnknownName, r"unknown symbol 'ETH-USDT'\. Known: BTC-USDT"),
        ("kraken", "BTC-USDT", FIRST, UsageError, r"gold\.ohlcv_1m has no candle of kraken\."),
        (
            "binance",
            "BTC-USDT",
            "2024-08-08T00:00:30Z",
            UsageError,
            "the nearest start at 2024-08-08T00:00:00Z and 2024-08-08T00:01:00Z",
        ),
        (
            "binance",
            "BTC-USDT",
            "2024-09-01",
            UsageError,
            "on 2024-09-01. It has 1 days of it, .* the nearest is 2024-08-08",
        ),
        ("binance", "BTC-USDT", "noon", UsageError, "window_start: 'noon' is not a time"),
    ],
)
def test_a_window_that_is_not_there_says_what_is_nearby(
    driver: LakeDriver, exchange: str, symbol: str, start: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        find_candle(driver.lake, driver.engine, timeframe("1m"), exchange, symbol, start)


def test_a_trade_that_is_not_there_says_what_is(driver: LakeDriver) -> None:
    lake, engine = driver.lake, driver.engine
    with pytest.raises(
        UsageError, match=r"has no trade '77' of binance .* has 4 of them, from 1 to"
    ):
        find_trade(lake, engine, "binance", "BTC-USDT", "77")
    with pytest.raises(UnknownName, match="unknown symbol 'ETH-USDT'"):
        find_trade(lake, engine, "binance", "ETH-USDT", "1")
