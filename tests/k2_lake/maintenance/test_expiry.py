"""Expiry keeps the newest, the named, and all that another table has yet to follow."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pyiceberg.table import Table

from k2_lake.bronze import position
from k2_lake.candles import build_candles
from k2_lake.commit import commit
from k2_lake.gold import merge
from k2_lake.history import (
    KAFKA,
    SOURCES,
    Consumed,
    Mode,
    changes_since,
    consumed,
    head_sequence,
    lineage,
    snapshot_at,
    summary_value,
)
from k2_lake.maintenance.expiry import expirable, expire
from k2_lake.maintenance.ledger import recorded
from k2_lake.quality.gaps import find_gaps
from k2_lake.scan import planned
from k2_lake.silver import refine
from k2_lake.tables import GAPS_TABLE, TRADES_TABLE
from k2_market.errors import CommitConflict, InvariantBroken, UnknownName
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver, open_lake, parser

BRONZE, SILVER = "bronze.binance_trades", "silver.binance_trades"
NOT_YOUNG = timedelta(0)


def one(n: int) -> list[Print]:
    return [Print(n, n * 1000, "10", "1")]


def ticked(home: Path, ticks: int) -> LakeDriver:
    """So many commits of bronze, silver and gold, all of them followed."""
    driver = LakeDriver(home)
    for n in range(ticks):
        driver.receive(one(n))
        refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
        merge(driver.lake, driver.engine, Kind.TRADES, DAY0.date())
    build_candles(driver.lake, driver.engine, "1m", DAY0.date())
    find_gaps(driver.lake, driver.engine, DAY0.date())
    return driver


def kept(table: Table) -> list[int]:
    return [s.sequence_number or 0 for s in lineage(table)][::-1]


@pytest.mark.any_storage
def test_the_newest_stay_and_the_rows_and_what_is_consumed_are_the_same(tmp_path: Path) -> None:
    driver = ticked(tmp_path, 5)
    rows, at = driver.everything(), position(driver.lake.table(BRONZE))
    for name in (BRONZE, SILVER, TRADES_TABLE):
        deed = expire(driver.lake, name, keep=3, young=NOT_YOUNG)
        assert deed is not None
        assert (deed.before.snapshots, deed.after.snapshots) == (5, 3)
        assert (deed.before.rows, deed.after.rows) == (5, 5)
        assert kept(driver.lake.table(name)) == [3, 4, 5]
        assert expire(driver.lake, name, keep=3, young=NOT_YOUNG) is None
    assert {n: r for n, r in driver.everything().items() if n != "ops.maintenance"} == {
        n: r for n, r in rows.items() if n != "ops.maintenance"
    }
    assert position(driver.lake.table(BRONZE)) == at
    told = recorded(driver.lake).to_pylist()
    assert {(r["table_name"], r["action"], r["dry_run"]) for r in told} == {
        (n, "expire", False) for n in (BRONZE, SILVER, TRADES_TABLE)
    }


def test_what_a_follower_lacks_is_kept_even_if_it_never_ran(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(6):
        driver.receive(one(n))
        if n < 4:
            refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    for name in (BRONZE, SILVER):
        expire(driver.lake, name, keep=1, young=NOT_YOUNG)
    bronze, silver = driver.lake.table(BRONZE), driver.lake.table(SILVER)
    assert kept(bronze) == [4, 5, 6]
    assert consumed(silver)[BRONZE] == Consumed(4)
    assert [c.sequence for c in changes_since(bronze, 4)] == [5, 6]
    assert snapshot_at(bronze, 4) == lineage(bronze)[-1].snapshot_id
    assert kept(silver) == [1, 2, 3, 4]
    merge(driver.lake, driver.engine, Kind.TRADES, DAY0.date())
    expire(driver.lake, SILVER, keep=1, young=NOT_YOUNG)
    assert kept(driver.lake.table(SILVER)) == [4]


def test_named_snapshots_stay_readable_until_the_name_is_gone(tmp_path: Path) -> None:
    driver = ticked(tmp_path, 4)
    table = driver.lake.table(TRADES_TABLE)
    first = lineage(table)[-1].snapshot_id
    table.manage_snapshots().create_tag(first, "audited").commit()
    expire(driver.lake, TRADES_TABLE, keep=2, young=NOT_YOUNG)
    table = driver.lake.table(TRADES_TABLE)
    assert kept(table) == [3, 4]
    assert len(table.metadata.snapshots) == 3
    assert planned(table, TRADE.schema, snapshot_id=first).rows == 1
    table.manage_snapshots().remove_tag("audited").commit()
    assert expire(driver.lake, TRADES_TABLE, keep=2, young=NOT_YOUNG) is not None
    assert [s.sequence_number for s in driver.lake.table(TRADES_TABLE).metadata.snapshots] == [3, 4]


def test_a_name_given_in_the_meantime_is_not_lost(tmp_path: Path) -> None:
    driver = ticked(tmp_path, 4)
    planned_on, other = driver.lake.table(TRADES_TABLE), driver.lake.table(TRADES_TABLE)
    ids = expirable(driver.lake, planned_on, 1, NOT_YOUNG)
    other.manage_snapshots().create_tag(ids[0], "just in time").commit()
    from k2_lake.maintenance.expiry import _remove

    with pytest.raises(CommitConflict, match="just in time names snapshot"):
        _remove(planned_on, ids)
    expire(driver.lake, TRADES_TABLE, keep=1, young=NOT_YOUNG)
    table = driver.lake.table(TRADES_TABLE)
    assert table.metadata.refs["just in time"].snapshot_id == ids[0]
    with pytest.raises(CommitConflict, match="is gone already"):
        _remove(planned_on, ids[1:])


def test_young_snapshots_stay_for_the_checks_of_their_run(tmp_path: Path) -> None:
    driver = ticked(tmp_path, 4)
    assert expire(driver.lake, TRADES_TABLE, keep=1) is None
    assert expire(driver.lake, "gold.quotes", keep=1, young=NOT_YOUNG) is None
    with pytest.raises(UnknownName):
        expire(driver.lake, "gold.nothing")


def test_a_dry_run_says_so_and_changes_nothing(tmp_path: Path) -> None:
    driver = ticked(tmp_path, 4)
    deed = expire(driver.lake, TRADES_TABLE, keep=1, young=NOT_YOUNG, dry_run=True)
    assert deed is not None
    assert (deed.before.snapshots, deed.after.snapshots) == (4, 1)
    assert kept(driver.lake.table(TRADES_TABLE)) == [1, 2, 3, 4]
    assert [r["dry_run"] for r in recorded(driver.lake).to_pylist()] == [True]


def test_every_commit_carries_how_far_the_table_is(tmp_path: Path) -> None:
    driver = ticked(tmp_path, 2)
    for name, key in ((BRONZE, KAFKA), (TRADES_TABLE, SOURCES), (GAPS_TABLE, SOURCES)):
        table = driver.lake.table(name)
        before = summary_value(table, key)
        commit(table, mode=Mode.MAINTENANCE, days=[])
        head = lineage(table)[0].summary
        assert head is not None
        assert head.additional_properties[key] == before
        assert {key, "k2.mode", "k2.days"} == {
            k for k in head.additional_properties if k.startswith("k2.")
        }


def test_a_commit_may_follow_and_carry_only_what_is_declared(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(TRADES_TABLE)
    with pytest.raises(ValueError, match=r"gold.trades is not declared to be made from"):
        commit(table, mode=Mode.APPEND, days=[], sources={"gold.gaps": Consumed(1)})
    with pytest.raises(ValueError, match=r"does not say what \['k2.mine'\] tell of"):
        commit(table, mode=Mode.APPEND, days=[], extra={"k2.mine": "1"})


def test_the_state_as_of_an_expired_snapshot_is_refused(tmp_path: Path) -> None:
    driver = ticked(tmp_path, 4)
    expire(driver.lake, TRADES_TABLE, keep=2, young=NOT_YOUNG)
    table = driver.lake.table(TRADES_TABLE)
    with pytest.raises(InvariantBroken, match=r"gold\.trades keeps no snapshot older than"):
        snapshot_at(table, 2)
    assert snapshot_at(table, 0) is None
    assert head_sequence(table) == 4
