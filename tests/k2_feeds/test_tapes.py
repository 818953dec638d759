from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_feeds.tapes import BATCH, TapeFrame, micros_of_stamp, read_tape
from k2_market.errors import UsageError

CLOCK = 1_700_000_000_000_000


def frames(path: Path, content: bytes) -> list[TapeFrame]:
    path.write_bytes(content)
    return [frame for batch in read_tape(path, CLOCK) for frame in batch]


@pytest.mark.parametrize(
    "stamp", [b"1723161254", b"1723161254000", b"1723161254000000", b"1723161254000000999"]
)
def test_the_unit_of_a_stamp_is_told_from_its_magnitude(tmp_path: Path, stamp: bytes) -> None:
    (frame,) = frames(tmp_path / "t", stamp + b' {"e":"trade"}\n')
    assert frame == TapeFrame(1723161254000000, b'{"e":"trade"}', 1, 0)


@given(st.integers(min_value=10**8 + 1, max_value=10**11 - 1))
def test_all_units_of_one_second_are_the_same_microseconds(second: int) -> None:
    stamps = [second, second * 10**3, second * 10**6, second * 10**9]
    assert {micros_of_stamp(stamp) for stamp in stamps} == {second * 10**6}


def test_only_received_entries_are_frames_and_connects_are_counted(tmp_path: Path) -> None:
    content = (
        b'{"dir":"connect","t":"1633998511.159679","url":"wss://example","raw":null}\n'
        b'{"dir":"sent","t":"1633998511.2","raw":"{}"}\n'
        b'{"line":2,"dir":"recv","t":"1633998512.0633569","raw":"{\\"e\\":\\"\xc3\xa9\\"}"}\n'
        b'{"dir":"recv","t":1633998513.000001,"raw":"x"}\r\n'
        b'{"dir":"connect","t":"1633998514"}\n'
        b'{"dir":"recv","t":"1633998515","raw":"y"}'
    )
    assert frames(tmp_path / "t", content) == [
        TapeFrame(1633998512063356, '{"e":"é"}'.encode(), 3, 1),
        TapeFrame(1633998513000001, b"x", 4, 1),
        TapeFrame(1633998515000000, b"y", 6, 2),
    ]


@given(st.decimals(min_value=0, max_value=10**11 - 1, places=6))
def test_seconds_are_exact_to_the_microsecond(
    tmp_path_factory: pytest.TempPathFactory, seconds: Decimal
) -> None:
    path = tmp_path_factory.getbasetemp() / "seconds"
    (frame,) = frames(path, b'{"dir":"recv","t":"%s","raw":"x"}' % f"{seconds:f}".encode())
    assert frame.received_at_us == int(seconds * 1_000_000)


def test_an_entry_without_a_time_takes_the_given_clock(tmp_path: Path) -> None:
    content = b'1723161254 {"a":1}\n{"raw":"{}","real":true}\n{"raw":"[]","t":null}\n'
    assert [f.received_at_us for f in frames(tmp_path / "t", content)] == [
        1723161254000000,
        CLOCK,
        CLOCK,
    ]


def test_a_line_of_neither_form_is_a_frame_of_its_own_bytes(tmp_path: Path) -> None:
    odd = [
        b'{"stream":"btcusdt@trade","data":{}}',
        b"\xff\xfe garbage",
        b'{"dir":"recv","t":"1723161255","raw":{"not":"text"}}',
        b"9" * 30 + b" {}",
        b"99999999999999999999999999999",
        b'{"dir":"recv","t":"1723161255"}',
        b"[" * 5000,
    ]
    found = frames(tmp_path / "t", b"1723161254 {}\n" + b"\n".join(odd) + b"\n\n")
    assert [f.payload for f in found] == [b"{}", *odd]
    assert {f.received_at_us for f in found} == {1723161254000000}


@pytest.mark.parametrize("t", ["soon", "-1", "1e999999999", "nan", "Infinity"])
def test_an_unreadable_time_is_that_of_the_line_before(tmp_path: Path, t: str) -> None:
    content = b'1723161254 {}\n{"dir":"recv","t":"%s","raw":"x"}\n' % t.encode()
    assert frames(tmp_path / "t", content)[1] == TapeFrame(1723161254000000, b"x", 2, 0)


def test_batches_hold_every_frame_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    count = BATCH * 2 + 1
    path.write_bytes(gzip.compress(b"".join(b"1723161254 %d\n" % i for i in range(count))))
    batches = list(read_tape(path, CLOCK))
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 1]
    assert [int(f.payload) for batch in batches for f in batch] == list(range(count))


def test_a_missing_file_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.gz' cannot be read: No such file"):
        read_tape(tmp_path / "nowhere.gz", CLOCK)


def test_a_folder_is_no_tape(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_tape(tmp_path, CLOCK)


@pytest.mark.parametrize("cut", [5, 200])
def test_a_damaged_archive_is_one_clear_sentence(tmp_path: Path, cut: int) -> None:
    whole = gzip.compress(b"".join(b"1723161254 %d\n" % i for i in range(5000)))
    (tmp_path / "t.gz").write_bytes(whole[: len(whole) - cut])
    with pytest.raises(UsageError, match="damaged and cannot be read to its end"):
        list(read_tape(tmp_path / "t.gz", CLOCK))


def test_flipped_bytes_in_an_archive_are_noticed(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b"".join(b"1723161254 %d\n" % i for i in range(5000))))
    whole[100:200] = bytes(100)
    (tmp_path / "t.gz").write_bytes(whole)
    with pytest.raises(UsageError, match="damaged"):
        list(read_tape(tmp_path / "t.gz", CLOCK))


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert frames(tmp_path / "t", b"") == []
