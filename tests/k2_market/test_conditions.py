"""What figures make of a day, as a pure rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from k2_market.conditions import (
    Circumstances,
    Condition,
    DayFigures,
    Instrumented,
    judge,
)
from k2_market.kinds import Kind

DAY = date(2026, 3, 1)
START = datetime(2026, 3, 1, tzinfo=UTC)
TRADES = Instrumented("binance", "BTC-USDT", Kind.TRADES)
QUOTES = Instrumented("binance", "BTC-USDT", Kind.QUOTES)
BITSTAMP = Instrumented("bitstamp", "BTC-USD", Kind.TRADES)
WHOLE = DayFigures(
    rows=100,
    connections=1,
    longest_silence_us=30_000_000,
    first_at=START + timedelta(seconds=2),
    last_at=START + timedelta(hours=23, minutes=59, seconds=50),
)
AROUND = Circumstances(before=True, after=True)


def test_only_trades_with_consecutive_ids_prove_themselves() -> None:
    assert TRADES.proves_itself
    assert not QUOTES.proves_itself
    assert not BITSTAMP.proves_itself


@pytest.mark.parametrize("what", [TRADES, QUOTES, BITSTAMP])
def test_a_day_without_a_flaw_is_available(what: Instrumented) -> None:
    assert judge(what, DAY, WHOLE, AROUND) == (Condition.AVAILABLE, [])


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ({"gaps": 2, "missing_ids": 30}, "30 trades missing in 2 gaps"),
        ({"gaps": 1, "missing_ids": 1}, "1 trade missing in 1 gap"),
        ({"rejected": 1}, "1 row rejected"),
    ],
)
def test_gaps_and_rejected_rows_degrade_a_day(flaw: dict[str, int], reason: str) -> None:
    assert judge(TRADES, DAY, replace(WHOLE, **flaw), AROUND) == (Condition.DEGRADED, [reason])


def test_a_disconnect_or_a_lost_frame_degrades_what_has_no_ids_to_prove_it() -> None:
    figures = replace(WHOLE, connections=3, disconnects=2, lost_frames=7)
    assert judge(TRADES, DAY, figures, AROUND) == (Condition.AVAILABLE, [])
    for what in (QUOTES, BITSTAMP):
        assert judge(what, DAY, figures, AROUND) == (
            Condition.DEGRADED,
            ["2 disconnects", "7 frames lost on our side"],
        )


def test_a_day_that_was_recorded_in_part_says_from_when_to_when() -> None:
    figures = replace(
        WHOLE, first_at=START + timedelta(hours=9), last_at=START + timedelta(hours=17)
    )
    told = ["nothing before 09:00:00", "nothing after 17:00:00"]
    assert judge(TRADES, DAY, figures, Circumstances()) == (Condition.DEGRADED, told)
    # Ids go on from the day before to the day after, and no gap reaches into this one.
    assert judge(TRADES, DAY, figures, AROUND) == (Condition.AVAILABLE, [])
    assert judge(QUOTES, DAY, figures, AROUND) == (Condition.DEGRADED, told)
    half = Circumstances(before=True)
    assert judge(TRADES, DAY, figures, half) == (Condition.DEGRADED, told[1:])


def test_an_instrument_that_is_quiet_all_day_may_be_so_at_its_ends() -> None:
    quiet = replace(
        WHOLE,
        first_at=START + timedelta(hours=3),
        last_at=START + timedelta(hours=21),
        longest_silence_us=2 * 3_600_000_000,
    )
    assert judge(QUOTES, DAY, quiet, Circumstances()) == (Condition.AVAILABLE, [])


def test_what_is_not_over_or_outstanding_is_pending_whatever_else_is_known() -> None:
    flawed = replace(WHOLE, rejected=3, first_at=START + timedelta(hours=9))
    assert judge(QUOTES, DAY, flawed, replace(AROUND, over=False)) == (
        Condition.PENDING,
        ["the day is not over", "3 rows rejected"],
    )
    behind = replace(AROUND, outstanding=("gold.trades lacks rows of silver.binance_trades",))
    assert judge(TRADES, DAY, flawed, behind) == (
        Condition.PENDING,
        ["gold.trades lacks rows of silver.binance_trades", "3 rows rejected"],
    )
    assert judge(TRADES, DAY, DayFigures(), behind)[0] is Condition.PENDING


def test_no_rows_where_there_should_be_some_are_missing() -> None:
    expected = replace(AROUND, expected="instruments.yaml lists it")
    assert judge(TRADES, DAY, DayFigures(), expected) == (
        Condition.MISSING,
        ["no rows, though instruments.yaml lists it"],
    )
