"""Counts by two ways: they agree over any history of arrivals, and expiry does not blind them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from k2_lake.bronze import begin_epoch
from k2_lake.commit import commit
from k2_lake.history import Mode, head_sequence, lineage
from k2_lake.quality.audit import (
    gold_reconciled,
    offsets_contiguous,
    offsets_recorded,
    silver_reconciled,
)
from k2_lake.quality.candle_audit import minutes_reconciled, rollup_reconciled
from k2_lake.scope import Scope
from k2_lake.tables import TRADES_TABLE, bronze_name, candle_name, silver_name
from k2_market.kinds import Kind
from k2_market.records import TRADE
from k2_market.timeframes import TIMEFRAMES
from tests.frames import ARRIVAL, DAY0, Print, prints_table
from tests.lakes import LakeDriver

TODAY, ARRIVED = DAY0.date(), ARRIVAL.date()
BRONZE, SILVER, MINUTES = (
    bronze_name("binance", Kind.TRADES),
    silver_name("binance", Kind.TRADES),
    candle_name("1m"),
)
PRINTS = [Print(n, n * 20_000, str(10 + n % 3), "0.5") for n in range(20)]


def scopes(driver: LakeDriver, since: bool) -> dict[str, Scope]:
    names = {BRONZE: ARRIVED, SILVER: ARRIVED, TRADES_TABLE: TODAY, MINUTES: TODAY}
    heads = {n: head_sequence(driver.lake.table(n)) if since else None for n in names}
    return {n: Scope(n, day, heads[n]) for n, day in names.items()}


def verdicts(driver: LakeDriver, over: dict[str, Scope]) -> list[tuple[bool, dict[str, object]]]:
    lake, engine = driver.lake, driver.engine
    found = [
        offsets_contiguous(lake, engine, over[BRONZE]),
        offsets_recorded(lake, engine, over[BRONZE]),
        silver_reconciled(lake, engine, over[SILVER], "binance", Kind.TRADES),
        gold_reconciled(lake, engine, over[TRADES_TABLE], Kind.TRADES),
        minutes_reconciled(lake, engine, over[MINUTES]),
        *(rollup_reconciled(lake, engine, TODAY, name) for name in list(TIMEFRAMES)[1:]),
    ]
    return [(v.agrees, dict(v.figures)) for v in found]


@pytest.mark.parametrize("since", [True, False], ids=["tick", "day"])
def test_all_counts_agree_after_repeats_replacements_and_recomputes(
    tmp_path: Path, since: bool
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS[:12])
    driver.tick()
    over = scopes(driver, since)
    driver.receive([*PRINTS[8:], Print(3, 60_000, "11", "1", received_ms=-1)])
    driver.tick()
    found = verdicts(driver, over)
    assert [agrees for agrees, _ in found] == [True] * 9, found
    frames, gold = found[0][1], found[3][1]
    assert frames == {"frames": 13 if since else 25, "repeated": 0, "missing": 0}
    if since:
        counted = ("incoming", "added", "duplicates", "replaced", "net_rows")
        assert [gold[k] for k in counted] == [13, 8, 5, 1, 8]
    else:
        assert gold == {"silver_rows": 25, "gold_rows": 20, "duplicates": 5}
    driver.recompute([TODAY])
    assert all(agrees for agrees, _ in verdicts(driver, scopes(driver, since=False)))


def test_a_new_epoch_begins_where_it_begins(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS[:5])
    table = driver.lake.table(BRONZE)
    begin_epoch(table, "market.crypto.trades.binance.raw", "another", {0: 100})
    driver.receive_frames(prints_table(PRINTS[5:8], 100))
    for since in (0, None):
        over = Scope(BRONZE, ARRIVED, since)
        assert offsets_contiguous(driver.lake, driver.engine, over).agrees
        assert offsets_recorded(driver.lake, driver.engine, over).agrees


def test_counts_of_a_day_need_no_history(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(4):
        driver.receive(PRINTS[5 * n : 5 * n + 5])
        driver.tick()
    for name in (BRONZE, SILVER, TRADES_TABLE, "gold.ohlcv_1m"):
        table = driver.lake.table(name)
        gone = [s.snapshot_id for s in lineage(table)[1:]]
        table.maintenance.expire_snapshots().by_ids(gone).commit()
    assert all(agrees for agrees, _ in verdicts(driver, scopes(driver, since=False)))
    over = scopes(driver, since=True)
    driver.receive([Print(77, 100, "10", "1")])
    driver.tick()
    assert all(agrees for agrees, _ in verdicts(driver, over))


def test_an_empty_lake_agrees(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for since in (True, False):
        assert all(agrees for agrees, _ in verdicts(driver, scopes(driver, since)))


def test_a_tick_sums_the_stretch_of_its_windows_and_sees_what_is_wrong_there(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS)
    driver.tick()
    since = head_sequence(driver.lake.table(MINUTES))
    driver.receive([Print(900, 65_000, "11", "1"), Print(901, 130_000, "11", "1")])
    driver.tick()
    scope = Scope(MINUTES, TODAY, since)
    verdict = minutes_reconciled(driver.lake, driver.engine, scope)
    assert verdict.agrees
    assert (verdict.figures["start"], verdict.figures["end"]) == (
        "2024-08-08T00:01:00+00:00",
        "2024-08-08T00:03:00+00:00",
    )
    table = driver.lake.table(TRADES_TABLE)
    extra = driver.rows(TRADES_TABLE)[-1] | {"trade_id": "x", "timestamp": DAY0.replace(minute=2)}
    commit(
        table,
        add=[pa.Table.from_pylist([extra], schema=TRADE.schema)],
        mode=Mode.APPEND,
        days=[TODAY],
    )
    assert not minutes_reconciled(driver.lake, driver.engine, scope).agrees
