"""One run of several days tells each day what a run of that day alone would tell it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from k2_assets.days import backfill_policy
from k2_assets.gold import gold_asset
from k2_assets.ranges import MAX_RUNTIME_TAG, days_of, range_tags
from k2_assets.tables import PARTITION_TAG, asset_key
from k2_lake.locations import local_path
from k2_lake.scan import of_day, planned
from k2_lake.silver import refine
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import REJECTED_TABLE, TRADES_TABLE, bronze_name, candle_name
from k2_market.errors import UnknownName
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME
from tests.frames import ARRIVAL, DAY0, Print, frame_table
from tests.graphs import graph
from tests.lakes import LakeDriver, parser

DAY = 86_400_000
SILVER = "silver.binance_trades"
ARRIVED = [ARRIVAL.date() + timedelta(days=n) for n in range(3)]
TRADED = [DAY0.date() + timedelta(days=n) for n in range(3)]
BACKFILLS = [
    (ARRIVED, [SILVER, REJECTED_TABLE]),
    (TRADED[:2], [TRADES_TABLE, candle_name("1m")]),
]
BROKEN = b'{"stream":"btcusdt@trade","data":{"e":"trade"'
# They count commits, of which a lake has more the more often it was computed.
OF_THE_COMMIT = {"snapshot_id", "sequence_before"}


def three_days(home: Path) -> LakeDriver:
    """Trades and a broken frame of three days, each arrived on a day of its own, in silver."""
    driver = LakeDriver(home)
    for n in range(3):
        prints = [Print(10 * n + i, n * DAY + i * 60_000, "10", "1") for i in range(n + 2)]
        payloads = [*((p.binance(), p.received_us) for p in prints), (BROKEN, 1)]
        arrived = ARRIVAL + timedelta(days=n)
        driver.receive_frames(frame_table(payloads, driver.next_offset(), arrived=arrived))
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    return driver


def run(
    home: Path, instance: dg.DagsterInstance, tables: Sequence[str], tags: Mapping[str, str]
) -> dg.ExecuteInProcessResult:
    job = graph(home).resolve_implicit_global_asset_job_def()
    keys = [asset_key(table) for table in tables]
    day = tags.get(PARTITION_TAG)
    return job.execute_in_process(
        instance=instance,
        asset_selection=keys,
        partition_key=day,
        tags={} if day else dict(tags),
        raise_on_error=False,
    )


def told(results: Sequence[dg.ExecuteInProcessResult]) -> dict[Any, Any]:
    """What is recorded of each table's day, and of each check's."""
    found: dict[Any, Any] = {}
    for result in results:
        for event in result.get_asset_materialization_events():
            what = event.materialization
            figures = {k: v for k, v in what.metadata.items() if k not in OF_THE_COMMIT}
            found[what.asset_key, what.partition] = figures
        for check in result.get_asset_check_evaluations():
            if check.partition is not None:
                key = check.asset_key, check.check_name, check.partition
                found[key] = (check.passed, check.blocking, check.severity, check.metadata)
    return found


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def alone(
    home: Path, instance: dg.DagsterInstance, days: Sequence[date], tables: Sequence[str]
) -> dict[Any, Any]:
    return told([run(home, instance, tables, {PARTITION_TAG: f"{day}"}) for day in days])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["duckdb", pytest.param("spark", marks=pytest.mark.spark)])
def test_each_day_of_a_range_is_told_as_a_run_of_that_day_alone_tells_it(
    tmp_path: Path,
    instance: dg.DagsterInstance,
    engine: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    homes = tmp_path / "alone", tmp_path / "together"
    drivers = [three_days(home) for home in homes]
    # Of what Spark makes other tests compare the rows; a range of one table shows the telling.
    backfills = BACKFILLS if engine == "duckdb" else [(ARRIVED, [SILVER])]
    expected = [alone(homes[0], instance, days, tables) for days, tables in backfills]
    if engine == "spark":
        settings: SparkSettings = request.getfixturevalue("spark_settings")
        for name, value in {"ENGINE": engine, "SPARK_MASTER": settings.master}.items():
            monkeypatch.setenv(f"K2_{name}", value)
        monkeypatch.setenv("K2_SPARK_JARS", str(settings.jars))
    for (days, tables), single in zip(backfills, expected, strict=True):
        result = run(homes[1], instance, tables, range_tags(days))
        assert result.success
        assert told([result]) == single
        recorded = instance.get_run_by_id(result.run_id)
        assert recorded is not None
        assert recorded.tags[MAX_RUNTIME_TAG] == str(1_800 * len(days))
        for table in tables:
            assert {(asset_key(table), f"{day}") for day in days} <= single.keys()
            assert instance.get_materialized_partitions(asset_key(table)) == set(map(str, days))
            assert drivers[0].rows(table) == drivers[1].rows(table)


@pytest.mark.timeout(300)
def test_of_a_range_with_a_day_that_fails_the_others_are_told_and_it_is_named(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    driver = three_days(tmp_path)
    bronze = driver.lake.table(bronze_name("binance", Kind.TRADES))
    [location] = planned(bronze, RAW_FRAME.schema, of_day("ingest_date", ARRIVED[1])).paths
    Path(str(local_path(location))).unlink()
    before = driver.rows(SILVER)
    result = run(tmp_path, instance, [SILVER, REJECTED_TABLE], range_tags(ARRIVED))
    [failed] = result.get_step_failure_events()
    assert failed.step_failure_data.user_failure_data is not None
    reasons = failed.step_failure_data.user_failure_data.metadata
    assert list(reasons) == [f"{ARRIVED[1]}"]
    assert "is missing" in str(reasons[f"{ARRIVED[1]}"].value)
    rows = {day: told([result])[asset_key(SILVER), f"{day}"]["rows"].value for day in ARRIVED[::2]}
    assert list(rows.values()) == [2, 4]
    assert told([result]).keys() == {(asset_key(SILVER), f"{day}") for day in ARRIVED[::2]}
    assert driver.rows(SILVER) == before


def test_only_spark_does_a_backfill_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backfill_policy({}) is None
    assert gold_asset(Kind.TRADES).backfill_policy is None
    monkeypatch.setenv("K2_ENGINE", "spark")
    assert gold_asset(Kind.TRADES).backfill_policy == dg.BackfillPolicy.single_run()
    with pytest.raises(UnknownName):
        backfill_policy({"K2_ENGINE": "flink"})


def test_all_jobs_resolve_with_the_policy_of_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster warns of jobs whose assets have different policies."""
    monkeypatch.setenv("K2_ENGINE", "spark")
    code = (
        "from k2_assets.definitions import definitions\n"
        "found = definitions('/nowhere').resolve_all_job_defs()\n"
        "print(len(found))"
    )
    arguments = [sys.executable, "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 10


def test_the_days_of_a_run_are_in_its_tags() -> None:
    assert days_of(range_tags(TRADED)) == TRADED
    assert days_of({PARTITION_TAG: "2024-08-08"}) == TRADED[:1]
    assert days_of({}) == []
