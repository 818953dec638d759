from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from k2_market.listing import Instrument, Version, as_of, succeed

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

# A list is the tick by symbol: few symbols and ticks, so that terms come, change, go and return.
Ticks = dict[str, int]
lists_of_ticks = st.lists(
    st.dictionaries(st.sampled_from(["A-USD", "B-USD", "C-USD"]), st.integers(1, 2)), max_size=8
)


def listed(ticks: Ticks) -> list[Instrument]:
    return [
        Instrument(
            "kraken",
            symbol,
            symbol.replace("-", "/"),
            (symbol.replace("-", "/"),),
            *symbol.split("-"),
            "spot",
            Decimal(tick),
            Decimal(1),
            "trading",
        )
        for symbol, tick in ticks.items()
    ]


def told(lists: Iterable[Ticks], history: tuple[Version, ...] = ()) -> tuple[Version, ...]:
    for hour, ticks in enumerate(lists):
        history = succeed(history, listed(ticks), BEGIN + hour * HOUR)
    return history


def test_changed_terms_close_a_version_and_open_another_at_the_same_instant() -> None:
    history = told([{"A-USD": 1, "B-USD": 1}, {"A-USD": 2, "B-USD": 1}, {"A-USD": 2}])
    assert [(v.terms.symbol, v.terms.tick_size, v.valid_from, v.valid_to) for v in history] == [
        ("A-USD", 1, BEGIN, BEGIN + HOUR),
        ("A-USD", 2, BEGIN + HOUR, None),
        ("B-USD", 1, BEGIN, BEGIN + 2 * HOUR),
    ]


@given(lists_of_ticks)
def test_the_terms_of_every_time_are_those_that_were_listed_then(lists: list[Ticks]) -> None:
    history = told(lists)
    for hour, ticks in enumerate(lists):
        expected = {i.symbol: i for i in listed(ticks)}
        assert as_of(history, BEGIN + hour * HOUR) == expected
        assert as_of(history, BEGIN + (hour + 0.999) * HOUR) == expected
    assert as_of(history, BEGIN - HOUR) == {}


@given(lists_of_ticks)
def test_validity_never_overlaps_and_at_most_one_version_is_current(lists: list[Ticks]) -> None:
    history = told(lists)
    for earlier, later in pairwise(history):
        if earlier.terms.symbol == later.terms.symbol:
            assert earlier.valid_to is not None
            assert earlier.valid_to <= later.valid_from
    assert all(v.valid_to is None or v.valid_from < v.valid_to for v in history)


@given(lists_of_ticks)
def test_lists_that_were_told_already_change_nothing(lists: list[Ticks]) -> None:
    history = told(lists)
    assert told(lists, history) == history
    if lists:
        last = listed(lists[-1])
        assert succeed(history, last, BEGIN + 100 * HOUR) == history
