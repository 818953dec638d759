"""``k2 backfill``: each day in a run of its own, in Dagster's history; a failed day fails alone."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from k2_assets.jobs import made_from_bronze
from k2_assets.ranges import days_of
from k2_assets.tables import PARTITION_TAG
from k2_cli.backfilling import ASKED_TAG, day_range, run_groups
from k2_cli.home import environment, locked_home
from k2_cli.main import app
from k2_lake.commit import commit
from k2_lake.history import Mode
from k2_lake.locations import local_path
from k2_lake.scan import of_day, planned
from k2_lake.tables import TABLES, TRADES_TABLE, candle_name
from k2_market.errors import UnknownName, UsageError
from k2_market.records import CANDLE
from tests.frames import ARRIVAL, DAY0, Print, prints_table
from tests.lakes import LakeDriver

DAY = 86_400_000
SILVER = "silver.binance_trades"
HOURLY, DAILY = candle_name("1h"), candle_name("1d")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets the environment for its runs; nothing of it outlives the test."""
    for name in ("K2_HOME", "DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY", "PYTHONUNBUFFERED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def three_days(home: Path) -> LakeDriver:
    """Trades of three days, each of which arrived on a day of its own."""
    driver = LakeDriver(home)
    for n in range(3):
        prints = [Print(10 * n + i, n * DAY + i * 60_000, "10", "1") for i in range(3)]
        arrived = ARRIVAL + timedelta(days=n)
        driver.receive_frames(prints_table(prints, 3 * n, arrived=arrived))
        driver.tick()
    return driver


def run(home: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["backfill", "--home", str(home), *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def _in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Spark."""
    policy = dg.BackfillPolicy.single_run()
    monkeypatch.setattr("k2_cli.backfilling.backfill_policy", lambda _: policy)


def forget(driver: LakeDriver, table: str, day: int) -> None:
    """The rows of a trade day are gone, as by no commit of K2."""
    definition, opened = TABLES[table], driver.lake.table(table)
    where = of_day(definition.record.day, DAY0.date() + timedelta(days=day))
    files = planned(opened, definition.schema, where).files
    commit(opened, remove=files, mode=Mode.MAINTENANCE, days=[])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("in_one_run", [False, True])
def test_a_failed_day_fails_alone_and_resume_does_only_that_one(
    tmp_path: Path, in_one_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_one_run:
        _in_one_run(monkeypatch)
    driver = three_days(tmp_path)
    sound = driver.rows(DAILY)
    for day in range(3):
        forget(driver, DAILY, day)
    where = of_day("window_date", DAY0.date() + timedelta(days=1))
    files = planned(driver.lake.table(HOURLY), CANDLE.schema, where)
    path = Path(str(local_path(files.paths[0])))
    path.rename(path.with_suffix(".away"))

    days = [(DAY0 + timedelta(days=n)).date().isoformat() for n in range(3)]
    asked = ("--from", days[0], "--to", days[2], "--asset", DAILY)
    code, told, reasons = run(tmp_path, *asked)
    assert code == 1
    assert [line.split()[-2] for line in told.splitlines() if line.startswith("│ 20")] == [
        "done",
        "failed",
        "done",
    ]
    assert f"{days[1]} failed: {HOURLY}" in reasons.replace("\n", " ")
    assert "1 of 3 days failed" in reasons
    held = {str(r["window_date"]) for r in driver.rows(DAILY)}
    assert held == {days[0], days[2]}

    path.with_suffix(".away").rename(path)
    code, told, _ = run(tmp_path, *asked, "--resume")
    assert code == 0
    assert [line.split()[1] for line in told.splitlines() if line.startswith("│ 20")] == [days[1]]
    assert driver.rows(DAILY) == sound
    assert "every day of the range is done" in run(tmp_path, *asked, "--resume")[1]

    os.environ.update(environment(tmp_path))
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        assert {r.tags[ASKED_TAG] for r in runs} == {f"{days[0]}...{days[2]} {DAILY}"}
        together = [r for r in runs if PARTITION_TAG not in r.tags]
        assert [(days_of(r.tags), r.status.value) for r in together] == [
            ([date.fromisoformat(d) for d in days], "FAILURE")
        ][: int(in_one_run)]
        found = sorted((r.tags[PARTITION_TAG], r.status.value) for r in runs if r not in together)
        assert found == sorted([*((d, "SUCCESS") for d in days), (days[1], "FAILURE")])
        partitions = instance.get_materialized_partitions(dg.AssetKey(DAILY.split(".")))
        assert partitions == set(days)


@pytest.mark.timeout(300)
def test_days_in_one_run_are_told_one_by_one_and_a_hole_parts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = three_days(tmp_path)
    days = [DAY0.date() + timedelta(days=n) for n in range(3)]
    assert [len(group) for group in run_groups([days[0], days[2]])] == [1, 1]
    _in_one_run(monkeypatch)
    assert run_groups(days) == [days]
    assert run_groups([days[0], days[2]]) == [days[:1], days[2:]]
    sound = driver.rows(DAILY)
    forget(driver, DAILY, 1)
    tables = ("--asset", HOURLY, "--asset", DAILY)
    code, told, _ = run(tmp_path, "--from", f"{days[0]}", "--to", f"{days[2]}", *tables)
    lines = [line.split() for line in told.splitlines() if line.startswith("│ 20")]
    # Two candles a day, of which the one that was forgotten has changed; four checks.
    assert [[*line[1:9:2], line[-2]] for line in lines] == [
        [f"{day}", "2", str(int(day == days[1])), "4", "done"] for day in days
    ]
    assert (code, driver.rows(DAILY)) == (0, sound)
    os.environ.update(environment(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert [days_of(r.tags) for r in instance.get_runs()] == [days]
    asked = ("--from", f"{days[0]}", "--to", f"{days[2]}", *tables, "--resume")
    assert "every day of the range is done" in run(tmp_path, *asked)[1]


@pytest.mark.timeout(300)
def test_days_that_silver_touched_beyond_the_range_follow_also_beside_another_process(
    tmp_path: Path,
) -> None:
    driver = three_days(tmp_path)
    sound = {name: driver.rows(name) for name in (TRADES_TABLE, candle_name("1d"))}
    arrived, traded = (ARRIVAL + timedelta(days=2)).date(), DAY0.date() + timedelta(days=2)
    forget(driver, TRADES_TABLE, 2)
    asked = ("--from", f"{arrived}", "--to", f"{arrived}", "--asset", SILVER)
    with locked_home(tmp_path):
        # As `k2 demo` holds it: its sensors bring to gold what silver touched.
        code, told, _ = run(tmp_path, *asked)
        assert (code, told.count("done"), told.count("followed")) == (0, 1, 0)
    code, told, _ = run(tmp_path, *asked)
    assert (code, told.count("done")) == (0, 1)
    [followed] = [line for line in told.splitlines() if "followed" in line]
    assert str(traded) in followed
    assert {name: driver.rows(name) for name in sound} == sound


def test_what_is_asked_wrongly_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no lake at"):
        run(tmp_path / "none", "--from", "2026-03-01", "--to", "2026-03-02")
    LakeDriver(tmp_path).lake.table(SILVER)
    with pytest.raises(UsageError, match="--from 2026-03-02 is after --to 2026-03-01"):
        run(tmp_path, "--from", "2026-03-02", "--to", "2026-03-01")
    with pytest.raises(UsageError, match="days go from 2011-01-01 to today"):
        day_range(DAY0.date(), datetime.now(UTC).date() + timedelta(days=1))
    with pytest.raises(UnknownName, match=r"unknown table with days 'gold.instruments'"):
        run(
            tmp_path,
            *("--from", "2026-03-01", "--to", "2026-03-01", "--asset", "gold.instruments"),
        )


def test_by_default_everything_is_computed_that_is_made_from_bronze() -> None:
    tables = made_from_bronze()
    layers = [table.split(".")[0] for table in tables]
    assert "bronze" not in layers
    assert {"silver.rejected", "gold.trades", "gold.quotes", "gold.gaps"} < set(tables)
    assert {candle_name(name) for name in ("1m", "1d")} < set(tables)
    assert len(tables) == len(set(tables))
