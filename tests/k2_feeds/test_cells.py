"""Lines of CSV split all at once are what they are one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_feeds.archives.cells import Cells, plain_columns, split_csv

NAMES = ("a", "b", "c")
cell = st.text(st.characters(codec="utf-8"), max_size=4) | st.sampled_from(
    ["", " ", "NA", "null", "1e5", "'x'", "\ufeff", "\0", "TRUE", "#", "\\", ";", "\t", "\u2028"]
)
line = st.lists(cell, min_size=2, max_size=4).map(",".join).map(str.encode) | st.binary(max_size=9)


@given(st.lists(line, min_size=1, max_size=6))
def test_lines_split_all_at_once_are_those_split_one_by_one(lines: list[bytes]) -> None:
    found = plain_columns(lines, NAMES)
    if found is not None:
        rows = zip(*(found[name].to_pylist() for name in NAMES), strict=True)
        assert [list(row) for row in rows] == [split_csv(row) for row in lines]


def test_simple_lines_are_split_all_at_once() -> None:
    found = plain_columns([b"1,2.50,True", b",NA, x"], NAMES)
    assert found is not None
    assert [found[name].to_pylist() for name in NAMES] == [
        ["1", ""],
        ["2.50", "NA"],
        ["True", " x"],
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [b'1,"2",3'],
        [b"1,2"],
        [b"1,2,3,4"],
        [b"1,2,3\n4,5,6"],
        [b"1,2,3\r"],
        [b""],
        [b"\xff,2,3"],
        [b"\xef\xbb\xbf1,2,3"],
    ],
)
def test_lines_that_are_not_simple_are_left_to_patience(lines: list[bytes]) -> None:
    assert plain_columns(lines, NAMES) is None


def test_flags_in_whatever_case_and_what_is_none() -> None:
    found = plain_columns([b"True,x,1", b"false,x,1", b"TRUE,x,1", b"yes,x,1"], NAMES)
    assert found is not None
    cells = Cells("S", found, 4)
    assert cells.flags("a").to_pylist() == [True, False, True, None]
    assert cells.faults == {3: ("wrong_value", "the a is not true or false, found 'yes'")}
