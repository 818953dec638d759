"""The arithmetic of windows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from k2_market.errors import UnknownName
from k2_market.timeframes import TIMEFRAMES, day_bounds, timeframe


def test_each_timeframe_is_made_of_the_next_finer_one_and_divides_a_day() -> None:
    frames = list(TIMEFRAMES.values())
    assert [f.name for f in frames] == ["1m", "5m", "30m", "1h", "1d"]
    assert frames[0].source is None
    for finer, coarser in pairwise(frames):
        assert coarser.source == finer.name
        assert coarser.micros % finer.micros == 0
    assert all(timedelta(days=1) % f.length == timedelta(0) for f in frames)
    assert timeframe("1m").micros == 60_000_000


def test_an_unknown_timeframe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"unknown timeframe '2m'\. Known: 1d, 1h, 1m, 30m, 5m"):
        timeframe("2m")


def test_a_day_goes_from_its_midnight_to_the_next() -> None:
    start, end = day_bounds(date(2024, 2, 29))
    assert (start, end) == (
        datetime(2024, 2, 29, tzinfo=UTC),
        datetime(2024, 3, 1, tzinfo=UTC),
    )
