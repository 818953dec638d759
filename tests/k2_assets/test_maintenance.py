"""Upkeep as runs: every table has its turn, the figures are told, and the record is checked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterInstance

from k2_assets.maintenance import GC, UPKEEP
from k2_lake.gold import merge
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.ledger import Begun, figures_of, record, recorded
from k2_lake.silver import refine
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import LakeUnavailable
from k2_market.kinds import Kind
from k2_market.maintenance import Action, Figures
from k2_sensors.schedules import gc, upkeep
from tests.frames import DAY0, Print
from tests.graphs import failed, graph, verdicts
from tests.lakes import LakeDriver, parser

CHECK = "ops.maintenance rows_kept"


def filled(home: Path, ticks: int = 5) -> LakeDriver:
    driver = LakeDriver(home)
    for n in range(ticks):
        driver.receive([Print(n, n, "10", "1")])
        refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
        merge(driver.lake, driver.engine, Kind.TRADES, DAY0.date())
    return driver


def run(home: Path, job: str, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
    with DagsterInstance.ephemeral() as instance:
        return (
            graph(home)
            .resolve_job_def(job)
            .execute_in_process(run_config=config, instance=instance, raise_on_error=False)
        )


def figures(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    [event] = [
        e
        for e in result.get_asset_materialization_events()
        if e.asset_key == dg.AssetKey(["ops", name])
    ]
    return {k: v.value for k, v in event.materialization.metadata.items()}


def test_upkeep_compacts_expires_and_tells_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compact.__kwdefaults__, "quiet", timedelta(0))
    driver = filled(tmp_path)
    rows = driver.rows(TRADES_TABLE)
    dry = run(tmp_path, UPKEEP.name, _config(dry_run=True))
    assert figures(dry, "compaction")["dry_run"] is True
    assert driver.lake.table(TRADES_TABLE).metadata.last_sequence_number == 5
    result = run(tmp_path, UPKEEP.name)
    assert result.success
    told = figures(result, "compaction")
    assert (told["tables"], told["files_before"], told["files_after"]) == (3, 15, 3)
    assert told["rows_before"] == told["rows_after"] == 15
    assert figures(result, "expiry")["actions"] == 0
    assert figures(result, "maintenance")["actions: compact"] == 3
    assert verdicts(result) == {CHECK: True}
    assert driver.rows(TRADES_TABLE) == rows
    swept = run(tmp_path, GC.name)
    assert swept.success
    assert figures(swept, "gc")["bytes_freed"] == 0


def _config(**config: Any) -> dict[str, Any]:
    return {"ops": {f"ops__{name}": {"config": config} for name in ("compaction", "expiry")}}


def test_a_table_that_cannot_be_seen_to_fails_the_run_after_all_others_had_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, seen = filled(tmp_path, 2), []

    def expire_some(lake: Any, name: str, **options: Any) -> None:
        seen.append(name)
        if name == "bronze.binance_trades":
            raise LakeUnavailable(f"{name} cannot be opened")

    monkeypatch.setattr("k2_lake.maintenance.rounds.expire", expire_some)
    result = run(tmp_path, UPKEEP.name)
    assert not result.success
    assert seen[0] == "bronze.binance_trades"
    assert seen[-1] == "ops.maintenance"
    assert driver.rows(TRADES_TABLE)


def test_rows_that_were_lost_fail_the_check_on_the_record(tmp_path: Path) -> None:
    driver = filled(tmp_path, 1)
    table = driver.lake.table(TRADES_TABLE)
    begun = Begun(TRADES_TABLE, Action.COMPACT, Figures(2, 2, 9, 1, None), day=DAY0.date())
    record(driver.lake, [begun.done(figures_of(table))])
    result = run(tmp_path, GC.name)
    assert failed(result) == {CHECK}
    [verdict] = result.get_asset_check_evaluations()
    assert str(verdict.metadata["broken"].value).endswith(
        "compact gold.trades 2024-08-08: 2 rows became 1"
    )
    assert recorded(driver.lake).num_rows == 1


def test_upkeep_runs_unless_it_is_stopped() -> None:
    for schedule in (upkeep, gc):
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
        assert schedule.execution_timezone == "UTC"
