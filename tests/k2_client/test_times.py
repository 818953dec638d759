from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_client.times import day_text, instant_text
from k2_market.errors import UsageError
from k2_market.instants import instant

YEARS = (datetime(1971, 1, 1), datetime(2998, 1, 1))  # noqa: DTZ001


@given(st.datetimes(*YEARS, timezones=st.timezones()))
def test_an_aware_datetime_arrives_as_the_same_instant(at: datetime) -> None:
    assert instant("start", instant_text("start", at)) == at.astimezone(UTC)


def test_dates_and_texts_go_as_they_are_written() -> None:
    assert instant_text("start", date(2024, 8, 8)) == "2024-08-08"
    assert instant_text("start", "2024-08-08T02:00+02:00") == "2024-08-08T02:00+02:00"
    at = datetime(2024, 8, 8, 2, tzinfo=timezone(timedelta(hours=2)))
    assert instant_text("start", at) == "2024-08-08T00:00:00.000000Z"


def test_a_datetime_without_a_zone_is_refused_with_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"start: .* has no zone.*tzinfo=UTC.*astimezone"):
        instant_text("start", datetime(2024, 8, 8))  # noqa: DTZ001
    with pytest.raises(UsageError, match=r"end: .* has no zone"):
        instant_text("end", "2024-08-08T00:00")
    with pytest.raises(UsageError, match="end: 'yesterday' is not a time"):
        instant_text("end", "yesterday")


def test_a_day_is_a_date_and_no_instant() -> None:
    assert day_text("date", date(2024, 8, 8)) == day_text("date", "2024-08-08") == "2024-08-08"
    with pytest.raises(UsageError, match=r"at.date"):
        day_text("date", datetime(2024, 8, 8, tzinfo=UTC))
    with pytest.raises(UsageError, match=r"date: '8.8.24' is no day"):
        day_text("date", "8.8.24")
