"""What maintenance did goes on record, and comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from pyiceberg.expressions import EqualTo

from k2_lake.maintenance.ledger import Begun, figures_of, figures_with, record, recorded
from k2_lake.scan import of_day, planned
from k2_market.maintenance import MAINTENANCE, Action, Deed, Figures
from k2_market.records import TRADE
from tests.frames import Print
from tests.lakes import LakeDriver, open_lake


def test_a_deed_has_every_column_of_the_record(tmp_path: Path) -> None:
    before, after = Figures(7, 3, 900, 12, 41), Figures(7, 1, 500, 12, 42)
    at = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
    deed = Deed(at, "gold.trades", Action.COMPACT, before, after, 15, day=date(2026, 3, 1))
    assert set(deed.row()) == set(MAINTENANCE.columns)
    lake = open_lake(tmp_path)
    record(lake, [deed])
    record(lake, [])
    assert recorded(lake).to_pylist() == [
        {
            "run_at": at,
            "table_name": "gold.trades",
            "action": "compact",
            "day": date(2026, 3, 1),
            "dry_run": False,
            "rows_before": 7,
            "rows_after": 7,
            "files_before": 3,
            "files_after": 1,
            "bytes_before": 900,
            "bytes_after": 500,
            "bytes_freed": 0,
            "snapshots_before": 12,
            "snapshots_after": 12,
            "snapshot_before": 41,
            "snapshot_after": 42,
            "took_ms": 15,
            "run_date": date(2026, 3, 2),
        }
    ]
    assert recorded(lake, EqualTo("run_date", "2026-03-03")).num_rows == 0


def test_an_action_is_told_with_the_tables_state_before_and_after(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    empty = figures_of(driver.lake.table("gold.trades"))
    assert empty == Figures(0, 0, 0, 0, None)
    begun = Begun("gold.trades", Action.EXPIRE, empty, dry_run=True)
    driver.receive([Print(1, 0, "10", "1"), Print(2, 86_400_000, "10", "1")])
    driver.tick()
    table = driver.lake.table("gold.trades")
    deed = begun.done(figures_of(table), bytes_freed=5)
    head = table.current_snapshot()
    assert head is not None
    assert (deed.after.rows, deed.after.files, deed.after.snapshot) == (2, 2, head.snapshot_id)
    assert (deed.dry_run, deed.bytes_freed, deed.run_at == begun.run_at) == (True, 5, True)
    [one] = planned(table, TRADE.schema, of_day("trade_date", date(2024, 8, 9))).files
    assert figures_with(table, [one]) == replace(
        deed.after, rows=1, files=1, bytes=one.file_size_in_bytes
    )
