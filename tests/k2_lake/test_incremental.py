"""Ticks and full recomputes give identical rows, whatever arrives in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.gold import merge
from k2_lake.history import changes_since
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from tests.frames import Print, trade_days
from tests.lakes import LakeDriver

DAY = 86_400_000

trades = st.builds(
    Print,
    trade_id=st.integers(1, 40),
    at_ms=st.just(0),
    price=st.integers(1, 500).map(str),
    quantity=st.integers(1, 9).map(lambda n: f"0.{n}"),
    buyer_is_maker=st.booleans(),
    symbol=st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    received_ms=st.integers(3 * DAY, 3 * DAY + 3),
)


def _timed(p: Print) -> Print:
    """The time is a property of the trade: ids share milliseconds and spread over three days."""
    return replace(p, at_ms=(p.trade_id // 3) * (DAY // 5) + 59_999)


def _same_content(p: Print) -> Print:
    """A repeat says the same again; when it was received may differ."""
    return replace(
        _timed(p), price=str(p.trade_id), quantity="0.5", buyer_is_maker=p.trade_id % 2 == 0
    )


batches = st.lists(st.lists(trades.map(_timed), max_size=12), min_size=1, max_size=4)


@pytest.mark.timeout(300)
@settings(max_examples=14, deadline=None)
@given(batches)
def test_ticks_equal_a_full_recompute_in_every_table(arrivals: list[list[Print]]) -> None:
    with TemporaryDirectory() as home:
        driver = LakeDriver(Path(home))
        for batch in arrivals:
            driver.receive(batch)
            driver.tick()
        ticked = driver.everything()
        driver.recompute(sorted(trade_days(p for b in arrivals for p in b)))
        assert driver.everything() == ticked


@pytest.mark.timeout(300)
@settings(max_examples=8, deadline=None)
@given(st.lists(trades.map(_same_content), min_size=2, max_size=25), st.data())
def test_cut_repeated_and_reordered_frames_give_the_same_gold_and_candles(
    prints: list[Print], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(prints)))
    overlap = data.draw(st.integers(0, cut))
    shuffled = data.draw(st.permutations(prints))
    whole = _market([prints])
    assert _market([prints[:cut], prints[cut - overlap :]]) == whole
    assert _market([shuffled]) == whole


def _market(arrivals: Sequence[Sequence[Print]]) -> dict[str, list[dict[str, object]]]:
    """Gold and candles without the coordinates, which differ by nature."""
    with TemporaryDirectory() as home:
        driver = LakeDriver(Path(home))
        for batch in arrivals:
            driver.receive(batch)
            driver.tick()
        names = [TRADES_TABLE, *(candle_name(t) for t in TIMEFRAMES)]
        lineage = {"epoch", "kafka_partition", "kafka_offset", "frame_index", "ingest_date"}
        return {
            n: [{k: v for k, v in row.items() if k not in lineage} for row in driver.rows(n)]
            for n in names
        }


def test_a_trade_received_earlier_takes_the_place_of_one_received_later(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1", received_ms=50), Print(2, 0, "10", "1", received_ms=50)])
    driver.tick()
    driver.receive([Print(1, 0, "11", "1", received_ms=40)])
    driver.tick()
    assert [(t["trade_id"], t["price"]) for t in driver.rows(TRADES_TABLE)] == [
        ("1", 11),
        ("2", 10),
    ]
    assert [(c["open"], c["close"], c["volume"]) for c in driver.rows("gold.ohlcv_1m")] == [
        (11, 10, 2)
    ]


def test_a_repeat_adds_nothing_and_leaves_the_candle_tables_alone(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    prints = [Print(i, i * 1000, "10", "1") for i in range(5)]
    driver.receive(prints)
    driver.tick()
    before = driver.everything()
    heads = {t: driver.lake.table(candle_name(t)).current_snapshot() for t in TIMEFRAMES}
    driver.receive(prints)
    driver.tick()
    after = driver.everything()
    assert after["gold.trades"] == before["gold.trades"]
    assert {t: driver.lake.table(candle_name(t)).current_snapshot() for t in TIMEFRAMES} == heads
    assert len(after["silver.binance_trades"]) == 10


def test_a_tick_touches_only_the_days_and_windows_of_what_is_new(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1"), Print(2, DAY, "10", "1")])
    driver.tick()
    gold = driver.lake.table(TRADES_TABLE)
    seen = gold.current_snapshot().sequence_number
    driver.receive([Print(3, 5, "12", "1")])
    driver.tick()
    [change] = changes_since(driver.lake.table(TRADES_TABLE), seen)
    assert change.days == trade_days([Print(3, 5, "12", "1")])
    again = merge(driver.lake, driver.engine, Kind.TRADES, next(iter(change.days)))
    assert (again.changed, again.figures["incoming"]) == (False, 0)
