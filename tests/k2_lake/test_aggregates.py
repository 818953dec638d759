"""Trades that come raw and aggregated are in gold once, and candles count their volume once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.gold import merge
from k2_lake.history import head_sequence
from k2_lake.quality.audit import gold_reconciled
from k2_lake.scope import Scope
from k2_lake.silver import refine
from k2_market.kinds import Kind
from tests.frames import DAY0, Print, frame_table, trade_days
from tests.lakes import LakeDriver, parser

FIGURES = (
    "symbol window_start open high low close volume quote_volume taker_buy_volume trade_count"
).split()
TODAY = DAY0.date()


@dataclass(frozen=True)
class Aggregate:
    """Consecutive trades of one taker at one price, as Binance also sends them."""

    number: int
    prints: tuple[Print, ...]

    def frame(self) -> tuple[bytes, int]:
        first = self.prints[0]
        data = {"e": "aggTrade", "E": first.time_ms + 1, "s": first.symbol, "a": self.number}
        data |= {"p": first.price, "q": f"{sum(float(p.quantity) for p in self.prints):.4f}"}
        data |= {"f": first.trade_id, "l": self.prints[-1].trade_id}
        data |= {"T": first.time_ms, "m": first.buyer_is_maker}
        frame = {"stream": f"{first.symbol.lower()}@aggTrade", "data": data}
        return json.dumps(frame).encode(), first.received_us


Row = Print | Aggregate


def market(sizes: Sequence[int], symbol: str = "BTCUSDT") -> list[Aggregate]:
    """Aggregated trades of so many raw ones each, over some minutes of one day."""
    found, next_id = [], 1
    for number, size in enumerate(sizes):
        one = Print(0, 40_000 * number, f"{100 + number % 7}", "0.25", number % 2 == 0, symbol)
        ids = range(next_id, next_id + size)
        found.append(Aggregate(number, tuple(replace(one, trade_id=i) for i in ids)))
        next_id += size
    return found


def receive(driver: LakeDriver, rows: Sequence[Row]) -> None:
    frames = [r.frame() if isinstance(r, Aggregate) else (r.binance(), r.received_us) for r in rows]
    if frames:
        driver.receive_frames(frame_table(frames, driver.next_offset()))


def arrived(home: Path, batches: Sequence[Sequence[Row]]) -> LakeDriver:
    driver = LakeDriver(home)
    for batch in batches:
        receive(driver, batch)
        driver.tick()
        assert reconciled(driver)
    return driver


def reconciled(driver: LakeDriver) -> bool:
    scope = Scope("gold.trades", TODAY, None)
    return gold_reconciled(driver.lake, driver.engine, scope, Kind.TRADES).agrees


def candles(driver: LakeDriver) -> list[dict[str, Any]]:
    rows = driver.rows("gold.ohlcv_1m")
    return [{name: row[name] for name in FIGURES} for row in rows]


def ids(driver: LakeDriver) -> list[object]:
    return [row["trade_id"] for row in driver.rows("gold.trades")]


ALL = market([3, 1, 4, 2, 1])
RAW = [p for a in ALL for p in a.prints]


@pytest.mark.parametrize(
    ("batches", "kept"),
    [
        ([RAW, ALL], [str(p.trade_id) for p in RAW]),
        ([ALL, RAW], [str(p.trade_id) for p in RAW]),
        ([[*ALL, *RAW]], [str(p.trade_id) for p in RAW]),
        ([ALL, RAW[:5]], ["1", "2", "3", "4", "agg:2", "agg:3", "agg:4"]),
        ([RAW[:5], ALL], ["1", "2", "3", "4", "agg:2", "agg:3", "agg:4"]),
        ([RAW[:5], ALL, RAW[5:7]], ["1", "2", "3", "4", "agg:2", "agg:3", "agg:4"]),
        ([RAW[:5], ALL, RAW[5:8]], [*"12345678", "agg:3", "agg:4"]),
        ([ALL[1:], RAW[:2]], ["1", "2", "agg:1", "agg:2", "agg:3", "agg:4"]),
    ],
)
def test_raw_trades_stay_where_they_are_complete_and_the_aggregated_one_where_some_are_missing(
    tmp_path: Path, batches: list[list[Row]], kept: list[str]
) -> None:
    driver = arrived(tmp_path, batches)
    assert ids(driver) == sorted(kept)
    ticked = driver.everything()
    driver.recompute([TODAY])
    assert driver.everything() == ticked


def test_a_repeat_of_either_kind_changes_nothing(tmp_path: Path) -> None:
    driver = arrived(tmp_path, [RAW, ALL[:2]])
    before = {n: driver.rows(n) for n in ("gold.trades", "gold.ohlcv_1m", "gold.ohlcv_1d")}
    head = head_sequence(driver.lake.table("gold.ohlcv_1m"))
    for batch in (ALL, RAW, ALL):
        receive(driver, batch)
        driver.tick()
    assert {n: driver.rows(n) for n in before} == before
    # Aggregated trades that are all there raw are duplicates, and no reason to compute a day anew.
    assert head_sequence(driver.lake.table("gold.ohlcv_1m")) == head


def test_other_symbols_and_exchanges_have_ids_of_their_own(tmp_path: Path) -> None:
    other = [replace(p, symbol="ETHUSDT") for p in RAW]
    driver = arrived(tmp_path, [ALL, other])
    driver.receive([replace(p, execution="MARKET") for p in RAW], "binance_usdm")
    driver.tick(["binance", "binance_usdm"])
    assert len(ids(driver)) == len(ALL) + 2 * len(RAW)


def test_raw_trades_that_no_candle_counts_stay_beside_the_aggregated_one(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    [one] = market([3])
    bankruptcy = replace(one.prints[1], execution="ADL")
    frames = [one.frame(), *((p.binance(), p.received_us) for p in (one.prints[0], bankruptcy))]
    driver.receive_frames(frame_table(frames, exchange="binance_usdm"), "binance_usdm")
    driver.tick(["binance_usdm"])
    assert ids(driver) == ["2", "agg:0"]
    driver.receive_frames(
        frame_table(
            [(one.prints[2].binance(), one.prints[2].received_us)], 3, exchange="binance_usdm"
        ),
        "binance_usdm",
    )
    driver.tick(["binance_usdm"])
    assert ids(driver) == ["1", "2", "3"]


def test_a_tick_of_raw_trades_on_a_day_without_aggregated_ones_reads_no_more_of_gold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = arrived(tmp_path, [RAW[:5]])
    read = []
    query = type(driver.engine).query

    def told(self: Any, sql: str, inputs: Any, schema: Any = None) -> Any:
        read.append(sql)
        return query(self, sql, inputs, schema)

    receive(driver, RAW[5:])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    monkeypatch.setattr(type(driver.engine), "query", told)
    assert merge(driver.lake, driver.engine, Kind.TRADES, TODAY).figures["added"] == 6
    assert len(read) == 2  # the incoming rows, and whether any repeats a sequence


@pytest.mark.timeout(300)
@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.data())
def test_whatever_comes_raw_or_aggregated_in_whatever_order_each_trade_is_counted_once(
    sizes: list[int], data: st.DataObject
) -> None:
    """Every trade comes at least one way; candles equal those of the raw trades alone."""
    rows: list[Row] = []
    for one in market(sizes):
        raw = data.draw(st.sets(st.sampled_from(one.prints)))
        rows += raw
        if len(raw) < len(one.prints) or data.draw(st.booleans()):
            rows.append(one)
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=2)))
    bounds = [0, *cuts, len(rows)]
    batches = [shuffled[a:b] for a, b in pairwise(bounds)]
    with TemporaryDirectory() as home:
        raw_only = arrived(Path(home) / "raw", [[p for a in market(sizes) for p in a.prints]])
        driver = arrived(Path(home) / "mixed", batches)
        assert candles(driver) == candles(raw_only)
        ticked = driver.everything()
        driver.recompute(sorted(trade_days(p for a in market(sizes) for p in a.prints)))
        assert driver.everything() == ticked
