from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from k2_market import exact
from k2_market.records import PRICE, QUANTITY

WRITTEN = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=8).map(str),
    st.decimals().map(str),
    st.text(alphabet="0123456789.eE+-", max_size=30),
    st.text(max_size=5),
)


def test_what_fits_is_kept_to_the_last_digit() -> None:
    texts = ["9999999999.99999999", "1e-8", "-0.5", "61837.6300000000000", "0"]
    values, refused = exact.decimals(pa.array(texts), PRICE)
    assert values.to_pylist() == [Decimal(t) for t in texts]
    assert refused == []


def test_what_does_not_fit_is_refused_and_its_neighbours_are_not() -> None:
    texts = ["1", "10000000000", "0.000000001", "nan", "", "1,5", " 2", "1e400", "2"]
    values, refused = exact.decimals(pa.array(texts), PRICE)
    assert refused == [1, 2, 3, 4, 5, 6, 7]
    assert values.to_pylist() == [Decimal(1), *[None] * 7, Decimal(2)]


def test_bytes_that_are_no_text_are_refused() -> None:
    values, refused = exact.decimals(pa.array([b"1.5", b"\xff", b"2"], pa.binary()), QUANTITY)
    assert (values.to_pylist(), refused) == ([Decimal("1.5"), None, Decimal(2)], [1])


def test_an_empty_column_stays_empty() -> None:
    values, refused = exact.decimals(pa.array([], pa.string()), PRICE)
    assert (len(values), values.type, refused) == (0, PRICE, [])


@given(st.lists(WRITTEN, max_size=12))
def test_a_value_is_judged_alone_as_it_is_among_others(texts: list[str]) -> None:
    values, refused = exact.decimals(pa.array(texts, pa.string()), PRICE)
    alone = [exact.decimals(pa.array([t], pa.string()), PRICE) for t in texts]
    assert values.to_pylist() == [found[0].as_py() for found, _ in alone]
    assert refused == [i for i, (_, bad) in enumerate(alone) if bad]


@given(st.decimals(min_value=-(10**10), max_value=10**10, places=8))
def test_no_decimal_that_is_taken_was_changed(value: Decimal) -> None:
    values, refused = exact.decimals(pa.array([str(value)]), QUANTITY)
    assert (values[0].as_py(), refused) == (value, [])


def test_instants_need_an_offset_and_end_at_microseconds() -> None:
    texts = [
        "2024-07-27T21:16:00.512060Z",
        "2024-07-27T21:16:00",
        "2024-07-27T21:16:00.5120601Z",
        "2024-02-30T00:00:00Z",
        "nope",
        "2024-07-27T23:16:00.512060+02:00",
    ]
    values, refused = exact.instants(pa.array(texts))
    assert refused == [1, 2, 3, 4]
    micros = values.cast(pa.int64()).to_pylist()
    assert micros == [1722114960512060, None, None, None, None, 1722114960512060]


def test_instants_take_microseconds_and_nulls() -> None:
    values, refused = exact.instants(pa.array([1722114960512060, None], pa.int64()))
    assert (values.cast(pa.int64()).to_pylist(), refused) == ([1722114960512060, None], [])
