"""Compaction changes files and nothing else, whoever writes at the same time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_lake.commit import written_files
from k2_lake.engine import Engine, Input
from k2_lake.gold import merge
from k2_lake.history import Mode, change_of, changes_since, consumed, head_sequence, lineage
from k2_lake.maintenance import compaction
from k2_lake.maintenance.compaction import compact, due_days
from k2_lake.maintenance.expiry import expire
from k2_lake.maintenance.ledger import recorded
from k2_lake.scan import appended, of_day, planned
from k2_lake.silver import refine
from k2_lake.tables import MAINTENANCE_TABLE, TABLES, TRADES_TABLE
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind
from k2_market.maintenance import Deed
from k2_market.records import TRADE
from tests.frames import ARRIVAL, DAY0, Print
from tests.lakes import LakeDriver, parser

BRONZE, SILVER = "bronze.binance_trades", "silver.binance_trades"
DAY = DAY0.date()
QUIET = timedelta(0)


def filled(home: Path, ticks: int = 5) -> LakeDriver:
    """Two symbols, their trades in as many files as there were ticks; gold follows, no candle."""
    driver = LakeDriver(home)
    for n in range(ticks):
        arrive(driver, n)
    return driver


def arrive(driver: LakeDriver, n: int) -> None:
    driver.receive(
        [
            Print(10 - n, 1000 * n, "10", "1"),
            Print(n, 1000 * n, "11", "2", symbol="ETHUSDT"),
        ]
    )
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    merge(driver.lake, driver.engine, Kind.TRADES, DAY)


def compacted(driver: LakeDriver, name: str = TRADES_TABLE, **more: Any) -> list[Deed]:
    return list(compact(driver.lake, driver.engine, name, quiet=QUIET, **more))


def stored(driver: LakeDriver, name: str, day: date = DAY) -> list[pa.Table]:
    record = TABLES[name].record
    files = planned(driver.lake.table(name), record.schema, of_day(record.day, day))
    return [pq.ParquetFile(driver.lake.io.new_input(p).open()).read() for p in files.paths]


@pytest.mark.any_storage
def test_a_closed_day_becomes_one_file_in_the_records_order(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    before = {name: driver.rows(name) for name in (BRONZE, SILVER, TRADES_TABLE)}
    for name, day in ((BRONZE, ARRIVAL.date()), (SILVER, ARRIVAL.date()), (TRADES_TABLE, DAY)):
        [deed] = compacted(driver, name)
        assert (deed.day, deed.before.files, deed.after.files) == (day, 5, 1)
        assert deed.before.rows == deed.after.rows == 10
        assert compacted(driver, name) == []
        assert driver.rows(name) == before[name]
        [rows] = stored(driver, name, day)
        order = list(TABLES[name].record.order)
        in_order = rows.sort_by([(c, "ascending") for c in order]).select(order)
        assert rows.select(order).equals(in_order)
    told = recorded(driver.lake).to_pylist()
    assert {(r["table_name"], r["rows_before"], r["rows_after"]) for r in told} == {
        (name, 10, 10) for name in before
    }


def test_a_follower_that_is_behind_reads_every_row_once(tmp_path: Path) -> None:
    """Appends, a compaction, appends and an expiry later it catches up in one step."""
    driver = filled(tmp_path, 2)
    consumed_at = consumed(driver.lake.table(TRADES_TABLE))[SILVER].through
    for n in (2, 3):
        driver.receive([Print(50 + n, n, "10", "1")])
        refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    compacted(driver, SILVER)
    driver.receive([Print(60, 9, "10", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    expire(driver.lake, SILVER, keep=1, young=QUIET)
    silver = driver.lake.table(SILVER)
    assert [s.sequence_number for s in lineage(silver)] == [6, 5, 4, 3, 2]
    changes = changes_since(silver, consumed_at)
    assert [c.sequence for c in changes] == [3, 4, 6]
    assert appended(silver, [c.snapshot for c in changes], TRADE.schema).rows == 3
    assert merge(driver.lake, driver.engine, Kind.TRADES, DAY).figures["added"] == 3
    assert len(driver.rows(TRADES_TABLE)) == len(driver.rows(SILVER)) == 7
    assert merge(driver.lake, driver.engine, Kind.TRADES, DAY).changed is False


def test_today_and_what_was_written_to_of_late_are_left_alone(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    table = driver.lake.table(TRADES_TABLE)
    assert due_days(table, DAY, QUIET) == []
    assert due_days(table, DAY + timedelta(days=1), QUIET) == [DAY]
    assert list(compact(driver.lake, driver.engine, TRADES_TABLE)) == []
    assert compacted(driver, worth_it=6) == []
    assert compacted(driver, "gold.ohlcv_1m") == []
    assert compacted(driver, "gold.instruments") == []


@pytest.mark.local_storage
def test_a_dry_run_says_what_would_be_and_writes_no_file(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    files = sorted(tmp_path.rglob("trades/**/*.parquet"))
    [deed] = compacted(driver, dry_run=True)
    assert (deed.dry_run, deed.before.files, deed.after.files) == (True, 5, 1)
    assert sorted(tmp_path.rglob("trades/**/*.parquet")) == files
    assert [r["dry_run"] for r in recorded(driver.lake).to_pylist()] == [True]


class Meanwhile:
    """An engine beside which something else happens, once, while new files are written."""

    name = "meanwhile"

    def __init__(self, engine: Engine, happens: Callable[[], None]) -> None:
        self._engine, self._happens = engine, [happens]
        self.sorted = 0

    def query(
        self, sql: str, inputs: dict[str, Input], schema: pa.Schema | None = None
    ) -> pa.Table:
        if sql.startswith("select * from old"):
            self.sorted += 1
            while self._happens:
                self._happens.pop()()
        return self._engine.query(sql, inputs, schema)

    def procedures(self) -> None:
        return self._engine.procedures()


def test_an_append_meanwhile_is_kept_and_nothing_is_rewritten_again(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    engine = Meanwhile(driver.engine, lambda: arrive(driver, 9))
    [deed] = compact(driver.lake, engine, TRADES_TABLE, quiet=QUIET)
    assert (engine.sorted, deed.after.rows) == (1, 12)
    assert len(driver.rows(TRADES_TABLE)) == 12
    table = driver.lake.table(TRADES_TABLE)
    assert [change_of(s).mode for s in lineage(table)[:2]] == [Mode.MAINTENANCE, Mode.APPEND]
    assert consumed(table)[SILVER].through == head_sequence(driver.lake.table(SILVER))


def test_a_day_that_is_replaced_meanwhile_is_looked_at_anew(tmp_path: Path) -> None:
    driver = filled(tmp_path)

    def recompute() -> None:
        merge(driver.lake, driver.engine, Kind.TRADES, DAY, recompute=True)
        arrive(driver, 9)

    engine = Meanwhile(driver.engine, recompute)
    [deed] = compact(driver.lake, engine, TRADES_TABLE, quiet=QUIET)
    assert (engine.sorted, deed.after.rows, deed.after.files) == (2, 12, 1)
    assert len(driver.rows(TRADES_TABLE)) == 12
    known = {Path(p).name for p in planned(driver.lake.table(TRADES_TABLE), TRADE.schema).paths}
    ours = list(tmp_path.rglob("gold/trades/data/**/*.parquet"))
    orphans = {p.name for p in ours} - known - _of_older_snapshots(driver)
    assert orphans == set()


def _of_older_snapshots(driver: LakeDriver) -> set[str]:
    table = driver.lake.table(TRADES_TABLE)
    snapshots = [s.snapshot_id for s in lineage(table)]
    each = (planned(table, TRADE.schema, snapshot_id=s).paths for s in snapshots)
    return {Path(p).name for paths in each for p in paths}


@pytest.mark.parametrize("lost", ["a row", "an id"])
@pytest.mark.local_storage
def test_what_would_not_hold_the_same_rows_is_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    driver = filled(tmp_path)
    head = head_sequence(driver.lake.table(TRADES_TABLE))

    def faulty(table: Any, rows: pa.Table, outputs: Any) -> Any:
        fewer = rows.slice(1)
        again = pa.concat_tables([fewer, fewer.slice(0, 1)])
        return written_files(table, fewer if lost == "a row" else again, outputs)

    monkeypatch.setattr(compaction, "written_files", faulty)
    files = sorted(tmp_path.rglob("*.parquet"))
    with pytest.raises(InvariantBroken, match=r"gold\.trades: 10 rows in 5 files would have"):
        compacted(driver)
    assert head_sequence(driver.lake.table(TRADES_TABLE)) == head
    assert sorted(tmp_path.rglob("*.parquet")) == files


def test_a_big_day_is_put_together_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "ROWS_AT_ONCE", 6)
    driver = filled(tmp_path, 7)
    before = driver.rows(TRADES_TABLE)
    [deed] = compacted(driver)
    assert (deed.before.files, deed.after.files) == (7, 3)
    assert driver.rows(TRADES_TABLE) == before
    times = [t["timestamp"].to_pylist() for t in stored(driver, TRADES_TABLE)]
    spans = sorted((min(t), max(t)) for t in times)
    assert all(one[1] < other[0] for one, other in pairwise(spans))


def test_its_own_record_is_compacted_too(tmp_path: Path) -> None:
    driver = filled(tmp_path, 2)
    for _ in range(4):
        compacted(driver, worth_it=2, dry_run=True)
    later = date.today() + timedelta(days=2)  # noqa: DTZ011
    done = compact(driver.lake, driver.engine, MAINTENANCE_TABLE, today=later, quiet=QUIET)
    assert [(d.before.files, d.after.files) for d in done] == [(4, 1)]
