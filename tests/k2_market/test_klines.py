"""What comparing two candles tells, window by window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_market.klines import Coverage, Kline, Outcome, Published, compare
from k2_market.timeframes import TIMEFRAMES

T0 = datetime(2024, 8, 8, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WIDE = Coverage(T0 - timedelta(days=1), T0 + timedelta(days=1))


def figures(**values: str) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in values.items()}


def compared(ours, theirs, coverage=WIDE, start=T0, end=T0 + 10 * MINUTE):
    published = Published([Kline(at, f) for at, f in theirs.items()], start, end, "test")
    return list(compare(ours, published, TIMEFRAMES["1m"], coverage))


def test_only_what_both_have_is_compared_and_trailing_zeros_are_no_difference() -> None:
    [window] = compared(
        {T0: figures(open="10.00", volume="2", quote_volume="20", trade_count="3")},
        {T0: figures(open="10", volume="2.00000000", vwap_of_nobody="1")},
    )
    assert (window.outcome, window.fields, window.differing) == (
        Outcome.MATCHED,
        ("open", "volume"),
        (),
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        ("10.12999999", "10.12", Outcome.MATCHED),
        ("10.12000000", "10.12", Outcome.MATCHED),
        ("10.12999999", "10.13", Outcome.DIFFERS),
        ("10.11999999", "10.12", Outcome.DIFFERS),
    ],
)
def test_a_vwap_is_cut_to_the_exchanges_decimals_and_not_rounded(
    ours: str, theirs: str, outcome: Outcome
) -> None:
    [window] = compared(
        {T0: figures(volume="1", vwap=ours)}, {T0: figures(volume="1", vwap=theirs)}
    )
    assert window.outcome is outcome


numbers = st.decimals("0.00000001", "99999999", places=8)
FIELDS = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "vwap")


@given(st.lists(numbers, min_size=8, max_size=8), st.integers(0, 8), st.data())
def test_equal_figures_match_and_any_changed_digit_is_told_of_its_field_alone(
    values: list[Decimal], decimals: int, data: st.DataObject
) -> None:
    ours = dict(zip(FIELDS, values, strict=True))
    cut = ours["vwap"].quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN)
    theirs = {**ours, "vwap": cut}
    [window] = compared({T0: ours}, {T0: theirs})
    assert (window.outcome, window.differing) == (Outcome.MATCHED, ())
    field = data.draw(st.sampled_from(FIELDS))
    sign, digits, exponent = theirs[field].as_tuple()
    at = data.draw(st.integers(0, len(digits) - 1))
    other = (digits[at] + data.draw(st.integers(1, 9))) % 10
    wrong = Decimal((sign, (*digits[:at], other, *digits[at + 1 :]), exponent))
    [window] = compared({T0: ours}, {T0: {**theirs, field: wrong}})
    assert (window.outcome, window.differing) == (Outcome.DIFFERS, (field,))


def test_a_window_without_trades_matches_one_that_is_left_out() -> None:
    empty = figures(open="10", close="10", volume="0.000", trade_count="0")
    [window] = compared({}, {T0: empty})
    assert (window.outcome, window.fields) == (Outcome.MATCHED, ("volume", "trade_count"))


def test_what_one_side_lacks_is_told() -> None:
    ours = {T0: figures(volume="1"), T0 + 30 * MINUTE: figures(volume="1")}
    theirs = {T0 + MINUTE: figures(volume="1")}
    found = {w.window_start: w.outcome for w in compared(ours, theirs)}
    assert found == {T0: Outcome.SOURCE_MISSING, T0 + MINUTE: Outcome.OURS_MISSING}


@pytest.mark.parametrize(
    ("coverage", "reason"),
    [
        (Coverage(T0, T0 + timedelta(days=1)), "our first candle: the recording began within it"),
        (Coverage(T0 - timedelta(days=1), T0), "our last candle: the recording may end within it"),
        (
            Coverage(
                WIDE.first, WIDE.last, [(T0 + timedelta(seconds=5), T0 + timedelta(hours=1), 7)]
            ),
            "7 trades are missing between 2024-08-08 12:00:05 and 2024-08-08 13:00:00",
        ),
    ],
)
def test_a_difference_is_partial_where_our_recording_is_known_to_lack_something(
    coverage: Coverage, reason: str
) -> None:
    ours, theirs = {T0: figures(volume="1")}, {T0: figures(volume="2")}
    [window] = compared(ours, theirs, coverage)
    assert (window.outcome, window.differing, window.reason) == (
        Outcome.OURS_PARTIAL,
        ("volume",),
        reason,
    )
    # What is equal all the same is complete.
    [window] = compared(ours, ours, coverage)
    assert (window.outcome, window.reason) == (Outcome.MATCHED, None)


def test_before_and_after_the_recording_ours_are_missing_for_a_reason() -> None:
    theirs = {T0: figures(volume="1"), T0 + 2 * MINUTE: figures(volume="1")}
    found = compared({}, theirs, Coverage(T0 + MINUTE, T0 + MINUTE))
    assert [(w.outcome, w.reason) for w in found] == [
        (Outcome.OURS_MISSING, "our first candle is that of 2024-08-08 12:01:00"),
        (Outcome.OURS_MISSING, "our last candle is that of 2024-08-08 12:01:00"),
    ]
    assert [w.reason for w in compared({}, theirs, Coverage())] == ["nothing of it is recorded"] * 2
    assert [w.reason for w in compared({}, theirs)] == [None, None]


def test_a_window_that_is_still_open_is_left_out() -> None:
    klines = [Kline(T0 + n * MINUTE, figures(volume="1")) for n in range(5)]
    published = Published(klines, T0, T0 + 5 * MINUTE, "test")
    frame = TIMEFRAMES["1m"]
    just_ended = published.closed(frame, T0 + 3 * MINUTE)
    assert len(just_ended.klines) == 3
    assert T0 + 2 * MINUTE < just_ended.end <= T0 + 3 * MINUTE
    assert len(published.closed(frame, T0 + 3 * MINUTE - timedelta(microseconds=1)).klines) == 2
    assert published.closed(frame, T0 + timedelta(days=1)) == published
    before = published.closed(frame, T0 - timedelta(days=1))
    assert (before.start, before.end, before.klines) == (T0, T0, [])


def test_a_figure_is_a_number() -> None:
    with pytest.raises(ValueError, match="volume is NaN"):
        Kline(T0, figures(volume="NaN"))
