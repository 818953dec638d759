"""What a table has consumed of another: no change is lost, and the record stays short."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.table.snapshots import Snapshot

from k2_lake.commit import commit
from k2_lake.history import (
    Change,
    Consumed,
    Mode,
    changes_since,
    consumed,
    head_sequence,
    lineage,
    snapshot_at,
    summary_value,
)
from k2_lake.tables import TRADES_TABLE, bronze_name
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind
from tests.frames import Print
from tests.lakes import LakeDriver, open_lake

DAY0 = date(2024, 8, 8)
DAYS = [DAY0 + timedelta(days=n) for n in range(4)]

# A commit touches these days; none is maintenance, or a step that found nothing to do.
source_commits = st.frozensets(st.sampled_from(DAYS), max_size=3)
steps = st.lists(st.one_of(source_commits, st.sampled_from(DAYS)), max_size=40)


def _change(sequence: int, days: frozenset[date]) -> Change:
    snapshot = Snapshot(snapshot_id=sequence, timestamp_ms=0, manifest_list="")
    return Change(sequence, snapshot, Mode.APPEND, days)


class Source:
    """A source that gains commits, and which of them each day of a consumer contains."""

    def __init__(self) -> None:
        self.head = 0
        self.commits: list[Change] = []
        self.contained: dict[date, int] = dict.fromkeys(DAYS, 0)

    def gain(self, days: frozenset[date]) -> None:
        self.head += 1
        if days:
            self.commits.append(_change(self.head, days))

    def since(self, sequence: int) -> list[Change]:
        return [c for c in self.commits if c.sequence > sequence]

    def outstanding(self) -> dict[date, list[int]]:
        found = {
            day: [c.sequence for c in self.commits if day in c.days and c.sequence > done]
            for day, done in self.contained.items()
        }
        return {day: sequences for day, sequences in found.items() if sequences}


@given(steps)
def test_what_is_pending_is_exactly_what_was_committed_and_not_computed(
    what: Sequence[frozenset[date] | date],
) -> None:
    source, record = Source(), Consumed()
    for step in what:
        if isinstance(step, frozenset):
            source.gain(step)
        else:
            record = record.after(step, source.since(record.through), source.head)
            source.contained[step] = source.head
        pending = record.pending(source.since(record.through))
        assert {d: [c.sequence for c in cs] for d, cs in pending.items()} == source.outstanding()
        assert Consumed.from_json(json.loads(json.dumps(record.to_json()))) == record
        assert all(s > record.through for s in record.ahead.values())


@given(steps)
def test_the_record_is_one_number_once_nothing_is_outstanding(
    what: Sequence[frozenset[date] | date],
) -> None:
    source, record = Source(), Consumed()
    for step in what:
        if isinstance(step, frozenset):
            source.gain(step)
    for day in DAYS:
        record = record.after(day, source.since(record.through), source.head)
    assert record == Consumed(source.head)


def test_a_day_ahead_of_the_others_is_remembered_until_they_have_caught_up() -> None:
    source = Source()
    for day in (DAYS[0], DAYS[1], DAYS[1]):
        source.gain(frozenset([day]))
    record = Consumed().after(DAYS[1], source.since(0), source.head)
    assert record == Consumed(0, {DAYS[1]: 3})
    assert [record.of(d) for d in DAYS[:2]] == [0, 3]
    assert record.after(DAYS[0], source.since(0), source.head) == Consumed(3)


def test_progress_is_what_the_summary_of_the_newest_snapshot_says(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    first = head_sequence(driver.lake.table(TRADES_TABLE))
    driver.receive([Print(2, 0, "10", "1")])
    driver.tick()
    silver, gold = driver.lake.table("silver.binance_trades"), driver.lake.table(TRADES_TABLE)
    assert consumed(gold)["silver.binance_trades"] == Consumed(head_sequence(silver))
    assert consumed(gold, first)["silver.binance_trades"] == Consumed(1)
    assert consumed(gold, 0) == {}
    assert [c.sequence for c in changes_since(silver, 0)] == [1, 2]
    assert [c.sequence for c in changes_since(silver, 1)] == [2]
    assert changes_since(silver, 2) == []
    assert {c.days for c in changes_since(silver, 0)} == {frozenset([DAY0])}


def test_a_table_without_snapshots_has_no_history(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(TRADES_TABLE)
    assert (lineage(table), head_sequence(table), consumed(table)) == ([], 0, {})
    assert (changes_since(table, 0), snapshot_at(table, 9)) == ([], None)
    assert summary_value(table, "k2.kafka") is None


def test_maintenance_is_no_change_and_another_writers_commit_asks_for_a_recompute(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    table = driver.lake.table(bronze_name("binance", Kind.TRADES))
    rows = table.scan().to_arrow()
    commit(table, mode=Mode.MAINTENANCE, days=[DAY0])
    assert [c.sequence for c in changes_since(table, 0)] == [1]
    table.append(rows, snapshot_properties={"k2.days": json.dumps([DAY0.isoformat()])})
    assert [(c.sequence, c.mode) for c in changes_since(table, 1)] == [(3, Mode.RECOMPUTE)]
    assert snapshot_at(table, 2) == lineage(table)[1].snapshot_id


@pytest.mark.parametrize("since", [0, 1])
def test_history_that_was_expired_before_it_was_consumed_is_refused(
    tmp_path: Path, since: int
) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(4):
        driver.receive([Print(n, n, "10", "1")])
    table = driver.lake.table(bronze_name("binance", Kind.TRADES))
    gone = [s.snapshot_id for s in lineage(table)[2:]]
    table.maintenance.expire_snapshots().by_ids(gone).commit()
    table.refresh()
    with pytest.raises(InvariantBroken, match=r"bronze\.binance_trades .* sequence 3"):
        changes_since(table, since)
    assert [c.sequence for c in changes_since(table, 3)] == [4]
