"""Our candles beside klines: equal to the digit, and whatever is not is told and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.quality.reconciliation import Reconciled, reconcile, symbols_of
from k2_lake.quality.reconciliation_ledger import keep
from k2_lake.tables import RECONCILIATION_TABLE
from k2_market.klines import Kline, Outcome, Published
from k2_market.timeframes import TIMEFRAMES
from tests.frames import DAY0, Print
from tests.k2_lake.test_candles import by_hand, markets
from tests.lakes import LakeDriver

LATER = datetime(2026, 4, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NINE = (
    *("open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
    *("taker_buy_volume", "taker_buy_quote_volume"),
)


def klines_of(prints: Sequence[Print], symbol: str, name: str = "1m") -> list[Kline]:
    """What an exchange would publish: independent arithmetic over the same trades."""
    frame = TIMEFRAMES[name]
    return [
        Kline(start, {field: Decimal(figures[field]) for field in (*NINE, "vwap")})  # type: ignore[arg-type]
        for (traded, start), figures in by_hand(list(prints), frame.length).items()
        if traded == symbol
    ]


def published(klines: Sequence[Kline], end: datetime = DAY0 + timedelta(days=1)) -> Published:
    return Published(klines, DAY0, end, "test")


def compared(driver: LakeDriver, klines: Published, name: str = "1m") -> Reconciled:
    return reconcile(driver.lake, driver.engine, "binance", "BTC-USDT", name, klines, LATER)


# Each example fills a lake; every field of a window is then changed in it.
@settings(max_examples=4, deadline=None)
@given(markets(), st.data())
def test_klines_of_the_same_trades_match_and_one_changed_digit_is_found_where_it_is(
    prints: list[Print], data: st.DataObject
) -> None:
    with TemporaryDirectory() as home:
        driver = LakeDriver(Path(home))
        driver.receive(prints)
        driver.tick()
        for name in ("1m", data.draw(st.sampled_from(list(TIMEFRAMES)[1:]))):
            klines = klines_of(prints, "BTCUSDT", name)
            found = compared(driver, published(klines), name).windows
            assert {w.outcome for w in found} <= {Outcome.MATCHED}
            assert len(found) == len(klines)
            if not klines:
                continue
            at = data.draw(st.integers(0, len(klines) - 1))
            for field in (*NINE, "vwap"):
                wrong = _with_a_digit_changed(klines[at], field, data)
                told = published([*klines[:at], wrong, *klines[at + 1 :]])
                odd = [w for w in compared(driver, told, name).windows if w.differing]
                assert [(w.window_start, w.differing) for w in odd] == [
                    (wrong.window_start, (field,))
                ]


def _with_a_digit_changed(kline: Kline, field: str, data: st.DataObject) -> Kline:
    sign, digits, exponent = kline.figures[field].as_tuple()
    at = data.draw(st.integers(0, len(digits) - 1))
    other = (digits[at] + data.draw(st.integers(1, 9))) % 10
    changed = Decimal((sign, (*digits[:at], other, *digits[at + 1 :]), exponent))
    if field == "volume" and not changed:
        changed = Decimal(7)
    return Kline(kline.window_start, {**kline.figures, field: changed})


@pytest.fixture
def driver(tmp_path: Path) -> LakeDriver:
    """Three minutes of BTC-USDT: trades 1 to 4, then 5 is missing, then 6 and 7."""
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS)
    driver.tick()
    return driver


PRINTS = [
    Print(1, 1_000, "10", "1"),
    Print(2, 61_000, "11", "2"),
    Print(3, 62_000, "12", "1", buyer_is_maker=True),
    Print(4, 121_000, "13", "1"),
    Print(6, 123_000, "14", "1"),
    Print(7, 181_000, "15", "1"),
    Print(8, 241_000, "16", "1"),
]
THEIRS = [Print(0, 500, "9", "1"), *PRINTS[:4], Print(5, 122_000, "20", "3"), *PRINTS[4:]]


def test_each_window_is_kept_once_with_both_figures_and_why_it_may_differ(
    driver: LakeDriver,
) -> None:
    klines = klines_of(THEIRS, "BTCUSDT")
    wrong = replace(klines[3], figures={**klines[3].figures, "close": Decimal("15.01")})
    beyond = Kline(DAY0 + 9 * MINUTE, klines[0].figures)
    found = compared(driver, published([*klines[:3], wrong, klines[4], beyond]))
    result = keep(driver.lake, driver.engine, [found], LATER)
    assert result.figures == {
        "windows": 6,
        "matched": 2,
        "differs": 1,
        "source_missing": 0,
        "ours_missing": 1,
        "ours_partial": 2,
    }
    rows: list[Any] = driver.rows(RECONCILIATION_TABLE)
    assert [(r["outcome"], r["reason"]) for r in rows] == [
        ("ours_partial", "our first candle: the recording began within it"),
        ("matched", None),
        (
            "ours_partial",
            "1 trade is missing between 2024-08-08 00:02:01 and 2024-08-08 00:02:03",
        ),
        ("differs", None),
        ("matched", None),
        ("ours_missing", "our last candle is that of 2024-08-08 00:04:00"),
    ]
    differs = rows[3]
    assert (differs["differing"], dict(differs["ours"])["close"], dict(differs["theirs"])) == (
        ["close"],
        "15.00000000",
        {**{k: f"{v:f}" for k, v in klines[3].figures.items()}, "close": "15.01"},
    )
    assert set(differs["fields"]) == {*NINE, "vwap"}
    assert {r["source"] for r in rows} == {"test"}


def test_comparing_again_commits_only_what_came_out_otherwise(driver: LakeDriver) -> None:
    klines = published(klines_of(THEIRS, "BTCUSDT"))
    first = keep(driver.lake, driver.engine, [compared(driver, klines)], LATER)
    before = driver.rows(RECONCILIATION_TABLE)
    later = LATER + timedelta(days=1)
    again = keep(driver.lake, driver.engine, [compared(driver, klines)], later)
    assert (first.changed, again.changed) == (True, False)
    assert again.snapshot_id == first.snapshot_id

    # What was missing comes after all: its window matches now, the others keep their rows.
    driver.receive([Print(5, 122_000, "20", "3")])
    driver.tick()
    third = keep(driver.lake, driver.engine, [compared(driver, klines)], later)
    after: list[Any] = driver.rows(RECONCILIATION_TABLE)
    assert third.changed
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, True, False, True, True]
    assert (after[2]["outcome"], after[2]["compared_at"]) == ("matched", later)


def test_other_symbols_timeframes_and_windows_of_the_day_stay_as_they_are(
    driver: LakeDriver,
) -> None:
    minutes = published(klines_of(THEIRS, "BTCUSDT"))
    hours = published(klines_of(THEIRS, "BTCUSDT", "1h"))
    early = published([k for k in minutes.klines if k.window_start < DAY0 + MINUTE], DAY0 + MINUTE)
    keep(driver.lake, driver.engine, [compared(driver, minutes)], LATER)
    keep(driver.lake, driver.engine, [compared(driver, hours, "1h")], LATER)
    keep(driver.lake, driver.engine, [compared(driver, replace(early, source="other"))], LATER)
    rows: list[Any] = driver.rows(RECONCILIATION_TABLE)
    assert Counter((r["timeframe"], r["source"]) for r in rows) == {
        ("1m", "test"): 4,
        ("1m", "other"): 1,
        ("1h", "test"): 1,
    }


def test_symbols_of_a_day_are_those_that_have_candles(driver: LakeDriver) -> None:
    assert symbols_of(driver.lake, driver.engine, "1m", DAY0.date()) == [("binance", "BTC-USDT")]
    assert symbols_of(driver.lake, driver.engine, "1m", LATER.date()) == []
