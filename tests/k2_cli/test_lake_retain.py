"""``k2 lake retain``: look first, then drop; and what the page of the asset tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from k2_cli.main import app
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.errors import UsageError
from tests.frames import DAY0, Print
from tests.graphs import graph
from tests.lakes import LakeDriver


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> LakeDriver:
    """Two old days and nothing since."""
    driver = LakeDriver(tmp_path_factory.mktemp("home"))
    driver.receive([Print(1, 0, "10", "1"), Print(2, 86_400_000, "10", "1")])
    driver.tick()
    return driver


def retain(home: Path, *arguments: str) -> str:
    ran = CliRunner().invoke(
        app, ["lake", "retain", "--home", str(home), *arguments], catch_exceptions=False
    )
    assert ran.exit_code == 0
    return ran.output


def test_a_dry_run_shows_what_the_command_then_drops(driver: LakeDriver) -> None:
    home = driver.lake.settings.home
    keep = (datetime.now(UTC).date() - DAY0.date()).days - 1
    (home / "retention.yaml").write_text(f"keep:\n  {candle_name('1m')}: {keep}\n")
    told = retain(home, "--dry-run", "--table", candle_name("1m"))
    first = DAY0.date() + timedelta(days=1)
    assert f"{keep:} days" in told
    assert str(first) in told
    assert f"1 days of 1 rows would be dropped, by {home / 'retention.yaml'}." in told
    assert len(driver.rows(candle_name("1m"))) == 2
    assert "1 days of 1 rows were dropped" in retain(home, "--table", candle_name("1m"))
    assert [r["window_date"] for r in driver.rows(candle_name("1m"))] == [first]


def test_the_asset_tells_the_figures_of_every_table(driver: LakeDriver) -> None:
    home = driver.lake.settings.home
    job = graph(home).resolve_job_def("retention")
    config = {"ops": {"ops__retention": {"config": {"dry_run": True}}}}
    ran = job.execute_in_process(run_config=config)
    [event] = ran.get_asset_materialization_events()
    figures = event.materialization.metadata
    assert (figures["dry_run"].value, figures["days"].value) == (True, 4)
    rows = {str(r.data["table"]): r.data for r in figures["tables"].value.records}  # type: ignore[union-attr]
    assert (rows[TRADES_TABLE]["kept"], rows[TRADES_TABLE]["days"]) == ("forever", 0)
    assert (rows[candle_name("5m")]["kept"], rows[candle_name("5m")]["days"]) == ("180 days", 2)
    assert len(driver.rows(candle_name("5m"))) == 2


def test_an_empty_home_and_a_wrong_name_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gold\.ohlcv_2m"):
        retain(tmp_path, "--table", "gold.ohlcv_2m")
    with pytest.raises(UsageError):
        retain(tmp_path)


def test_runs_are_pruned_by_the_command(tmp_path: Path) -> None:
    arguments = ["dagster", "prune", "--home", str(tmp_path)]
    with pytest.raises(UsageError, match="no run was ever made"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_old_days_are_dropped_only_by_those_who_ask_and_old_runs_by_themselves() -> None:
    from k2_sensors.schedules import history, retention

    assert retention.default_status is dg.DefaultScheduleStatus.STOPPED
    assert history.default_status is dg.DefaultScheduleStatus.RUNNING
