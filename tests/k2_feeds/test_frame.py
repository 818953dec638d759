"""The header of a raw message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_feeds.kafka.frame import MalformedHeader, Origin, decode_headers, encode_header

INT64 = st.integers(-(2**63), 2**63 - 1)
YEARS_US = st.integers(0, 4_102_444_800_000_000)  # 1970 to 2100
HEADERS = st.lists(st.tuples(YEARS_US, INT64, INT64, st.sampled_from(Origin)), max_size=30)


def _where(index: int) -> str:
    return f"topic[1] offset {100 + index}"


@given(HEADERS)
def test_what_is_encoded_is_decoded_in_order(values: list[tuple[int, int, int, Origin]]) -> None:
    columns = decode_headers([encode_header(*value) for value in values], _where)
    assert columns.received_at.cast("int64").to_pylist() == [value[0] for value in values]
    assert columns.connection_id.to_pylist() == [value[1] for value in values]
    assert columns.sequence.to_pylist() == [value[2] for value in values]
    assert columns.origin.to_pylist() == [value[3].value for value in values]


def test_the_layout_is_the_documented_one() -> None:
    header = encode_header(1_723_161_255_087_896, 7, 9, Origin.ARCHIVE)
    assert header[:2] == b"\x01\x03"
    assert header[2:8] == bytes(6)
    assert header[8:] == b"".join(n.to_bytes(8, "big") for n in (1_723_161_255_087_896, 7, 9))


GOOD = encode_header(1, 2, 3)


@pytest.mark.parametrize(
    "bad",
    [b"", GOOD[:-1], GOOD + b"\0", b"\x02" + GOOD[1:], b"\x01\x09" + GOOD[2:], b"{}" * 16],
    ids=["absent", "short", "long", "layout", "origin", "json"],
)
def test_a_malformed_header_is_named_by_its_coordinates(bad: bytes) -> None:
    with pytest.raises(MalformedHeader, match=r"^topic\[1\] offset 102 has no header 'k2'"):
        decode_headers([GOOD, GOOD, bad, GOOD], _where)


def test_two_wrong_widths_that_add_up_are_still_refused() -> None:
    with pytest.raises(MalformedHeader, match=r"offset 100 "):
        decode_headers([GOOD[:-8], GOOD + bytes(8)], _where)
