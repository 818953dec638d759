"""Bronze holds each frame once and knows where to read on, whatever happened before."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from k2_lake.bronze import Position, append_frames, begin_epoch, position, resume
from k2_lake.history import lineage
from k2_lake.tables import bronze_name
from k2_market.errors import CommitConflict, InvariantBroken, LakeError, OffsetBeyondEnd
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, Print, bronze_rows, prints_table
from tests.lakes import LakeDriver, open_lake

TOPIC = "market.crypto.trades.binance.raw"
BRONZE = bronze_name("binance", Kind.TRADES)


def frames(count: int, first: int = 0, **where: object) -> pa.Table:
    return prints_table([Print(first + n, n, "10", "1") for n in range(count)], first, **where)


def test_a_new_table_is_read_from_the_beginning_in_the_first_epoch(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(BRONZE)
    assert position(table) is None
    at = resume(table, TOPIC, "A", new_cluster_is_expected=False)
    assert at == Position(1, "A", {})


@pytest.mark.any_storage
def test_the_position_moves_with_the_rows_and_a_rollback_rewinds_both(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(BRONZE)
    at = append_frames(table, Position(1, "A"), frames(3), {0: 3, 1: 0})
    both = pa.concat_tables([frames(2, 3), frames(4, partition=1)])
    at = append_frames(table, at, both, {0: 5, 1: 4})
    assert position(table) == at == Position(1, "A", {0: 5, 1: 4})
    assert table.scan().count() == 9
    table.manage_snapshots().set_current_snapshot(
        snapshot_id=lineage(table)[1].snapshot_id
    ).commit()
    assert position(table) == Position(1, "A", {0: 3, 1: 0})
    assert table.scan().count() == 3


def test_a_new_embedded_cluster_begins_a_new_epoch_from_the_beginning(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(BRONZE)
    append_frames(table, Position(1, "A"), frames(3), {0: 3})
    at = resume(table, TOPIC, "B", new_cluster_is_expected=True)
    assert at == Position(2, "B", {})
    append_frames(table, at, frames(2), {0: 2})
    assert resume(table, TOPIC, "B", new_cluster_is_expected=True) == Position(2, "B", {0: 2})
    assert sorted((r["epoch"], r["kafka_offset"]) for r in table.scan().to_arrow().to_pylist()) == [
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
        (2, 1),
    ]


def test_another_real_cluster_stops_with_both_names_and_the_command(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(BRONZE)
    append_frames(table, Position(1, "old-id"), frames(3), {0: 3})
    with pytest.raises(OffsetBeyondEnd) as error:
        resume(table, TOPIC, "new-id", new_cluster_is_expected=False)
    for part in (BRONZE, "old-id", "new-id", TOPIC, "k2 bronze new-epoch"):
        assert part in str(error.value)
    begin_epoch(table, TOPIC, "new-id", {0: 40})
    at = resume(table, TOPIC, "new-id", new_cluster_is_expected=False)
    assert at == Position(2, "new-id", {0: 40})
    append_frames(table, at, frames(2, 40), {0: 42})
    assert table.scan().count() == 5


def test_a_table_with_rows_but_no_offsets_is_refused(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(BRONZE)
    table.append(bronze_rows(frames(2)))
    with pytest.raises(LakeError, match=r"bronze\.binance_trades has rows but no snapshot with"):
        position(table)


@pytest.mark.parametrize(
    ("offsets", "next_offsets"),
    [
        ([0, 2], {0: 2}),
        ([0, 2], {0: 3}),
        ([0, 0, 2], {0: 3}),
        ([1, 2], {0: 3}),
        ([0, 1], {0: 3}),
        ([0, 1], {0: 1}),
        ([0, 1], {}),
        ([0, 1], {0: 2, 1: 7}),
    ],
    ids=[
        "a hole counted away",
        "a hole",
        "a repeat that hides a hole",
        "the beginning missing",
        "the end missing",
        "more than recorded",
        "no offset recorded",
        "another partition moved without frames",
    ],
)
def test_frames_that_do_not_fill_their_offsets_are_refused_and_nothing_is_committed(
    tmp_path: Path, offsets: list[int], next_offsets: dict[int, int]
) -> None:
    table = open_lake(tmp_path).table(BRONZE)
    rows = frames(len(offsets)).set_column(1, "kafka_offset", pa.array(offsets, pa.int64()))
    with pytest.raises(InvariantBroken, match=r"bronze\.binance_trades: .* partition [01]"):
        append_frames(table, Position(1, "A"), rows, next_offsets)
    assert table.current_snapshot() is None


def test_a_batch_read_from_a_stale_position_is_not_committed(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    ours, theirs = lake.table(BRONZE), lake.table(BRONZE)
    start = Position(1, "A")
    append_frames(theirs, start, frames(3), {0: 3})
    with pytest.raises(CommitConflict, match=r"bronze\.binance_trades"):
        append_frames(ours, start, frames(3), {0: 3})
    assert lake.table(BRONZE).scan().count() == 3


def test_frames_of_one_read_may_lie_on_both_sides_of_midnight(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    before = frames(2, arrived=ARRIVAL - timedelta(days=1))
    driver.receive_frames(pa.concat_tables([before, frames(2, 2)]))
    table = driver.lake.table(BRONZE)
    assert {f.file.partition[0] is not None for f in table.scan().plan_files()} == {True}
    assert len(list(table.scan().plan_files())) == 2
    assert driver.next_offset() == 4
