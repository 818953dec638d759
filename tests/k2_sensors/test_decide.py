"""When to start a run, as pure decisions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from k2_sensors.decide import (
    FIRST_RETRY,
    LONGEST_RETRY,
    Attempt,
    Request,
    Skip,
    backlog_id,
    decide,
    in_vain,
    retry_after,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = date(2026, 3, 1)

attempts = st.lists(
    st.builds(
        Attempt,
        backlog=st.sampled_from(["a", "b", None]),
        succeeded=st.booleans(),
        ended_at=st.integers(0, 300).map(lambda s: NOW - timedelta(seconds=s)),
    ),
    max_size=6,
).map(lambda found: sorted(found, key=lambda a: a.ended_at))


def ago(seconds: float, backlog: str = "a", *, succeeded: bool = False) -> Attempt:
    return Attempt(backlog, succeeded, NOW - timedelta(seconds=seconds))


def test_a_new_backlog_is_requested_at_once_under_its_name_and_attempt() -> None:
    assert decide(DAY, "a", "work", [], 0, NOW) == Request(DAY, "a", "a-1")


def test_a_failed_attempt_is_followed_by_another_after_the_wait() -> None:
    found = decide(DAY, "a", "5 frames", [ago(9)], 1, NOW)
    assert found == Skip("attempt 1 did not clear 5 frames; next one at 12:00:01 UTC")
    assert decide(DAY, "a", "5 frames", [ago(10)], 1, NOW) == Request(DAY, "a", "a-2")


def test_waits_double_up_to_a_minute() -> None:
    waits = [retry_after(n).total_seconds() for n in (1, 2, 3, 4, 50)]
    assert waits == [10, 20, 40, 60, 60]


def test_a_backlog_that_grew_since_the_failure_waits_all_the_same() -> None:
    """Frames arrive all the time: the backlog of a failing tick is never twice the same."""
    assert isinstance(decide(DAY, "b", "work", [ago(15, "x"), ago(5, "a")], 0, NOW), Skip)
    assert isinstance(decide(DAY, "b", "work", [ago(25, "x"), ago(19, "a")], 0, NOW), Skip)
    assert isinstance(decide(DAY, "b", "work", [ago(25, "x"), ago(20, "a")], 0, NOW), Request)


def test_a_success_ends_the_waiting_unless_this_backlog_is_still_there() -> None:
    recent = [ago(30), ago(20), ago(5, succeeded=True)]
    assert decide(DAY, "b", "work", recent, 0, NOW) == Request(DAY, "b", "b-1")
    assert isinstance(decide(DAY, "a", "work", recent, 3, NOW), Skip)


@given(attempts, st.integers(0, 9))
def test_it_is_requested_when_and_only_when_no_wait_is_left(
    recent: list[Attempt], made: int
) -> None:
    found = decide(DAY, "a", "work", recent, made, NOW)
    tried = in_vain("a", recent)
    due = max((a.ended_at + retry_after(len(tried)) for a in tried), default=NOW)
    assert isinstance(found, Request) == (due <= NOW)
    later = decide(DAY, "a", "work", recent, made, NOW + LONGEST_RETRY)
    assert later == Request(DAY, "a", f"a-{made + 1}")


@given(attempts)
def test_what_was_in_vain_is_the_latest_attempts_up_to_one_that_helped(
    recent: list[Attempt],
) -> None:
    tried = in_vain("a", recent)
    assert recent[len(recent) - len(tried) :] == tried
    assert all(not a.succeeded or a.backlog == "a" for a in tried)
    if len(tried) < len(recent):
        assert recent[-len(tried) - 1].succeeded


@given(st.integers(1, 60), st.integers(1, 60))
def test_waits_never_shrink_and_stay_within_bounds(one: int, other: int) -> None:
    few, many = sorted([one, other])
    assert FIRST_RETRY <= retry_after(few) <= retry_after(many) <= LONGEST_RETRY


def test_a_backlog_is_named_by_its_state() -> None:
    state = {"binance": {"frames": 3, "ends": {0: 3}}}
    same = backlog_id("tick", DAY, {"binance": {"ends": {0: 3}, "frames": 3}})
    assert backlog_id("tick", DAY, state) == same
    assert same.startswith("tick-2026-03-01-")
    assert backlog_id("tick", DAY, {"binance": {"frames": 4, "ends": {0: 4}}}) != same
    assert len(same) < 63
