"""The asset of conditions with its checks, and the sensor that keeps them fresh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster_duckdb import DuckDBResource

from k2_assets.day_condition import configured
from k2_assets.resources import LakeResource
from k2_lake.tables import CONDITION_TABLE
from k2_market.conditions import Instrumented
from k2_market.errors import UsageError
from k2_market.kinds import Kind
from k2_sensors.day_condition import day_condition
from tests.frames import DAY0, Print
from tests.graphs import run_job, verdicts
from tests.lakes import LakeDriver
from tests.live_frames import every_half_hour, receive_live

DAY = DAY0.date()
BTC_ALONE = "exchanges:\n  binance:\n    kinds: [trades]\n    symbols: [BTC-USDT]\n"


@pytest.fixture
def driver(tmp_path: Path) -> LakeDriver:
    """A day of BTC-USDT of which two trades are missing."""
    (tmp_path / "instruments.yaml").write_text(BTC_ALONE)
    driver = LakeDriver(tmp_path)
    prints = every_half_hour()
    receive_live(driver, prints[:10] + prints[12:])
    driver.tick()
    return driver


def _evaluate(driver: LakeDriver, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    home = str(driver.lake.settings.home)
    resources = {
        "lake": LakeResource(home=home),
        "duckdb": DuckDBResource(database=":memory:"),
    }
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        found = day_condition(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_a_run_tells_the_conditions_its_check_warns_and_the_other_passes(
    driver: LakeDriver,
) -> None:
    home = driver.lake.settings.home
    result = run_job(home, "day_condition", DAY)
    assert result.success
    assert verdicts(result) == {
        "gold.day_condition one_each": True,
        "gold.day_condition nothing_lacking": False,
    }
    [warning] = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert warning.severity is dg.AssetCheckSeverity.WARN
    assert warning.metadata["first"].value == (
        "binance BTC-USDT trades degraded: 2 trades missing in 1 gap"
    )
    [event] = result.get_asset_materialization_events()
    figures = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (figures["instruments"], figures["degraded"], figures["rows"]) == (1, 1, 1)

    receive_live(driver, every_half_hour()[10:12], connection=2)
    driver.tick()
    assert set(verdicts(run_job(home, "day_condition", DAY)).values()) == {True}


def test_the_sensor_requests_days_that_are_due_and_today_only_now_and_then(
    driver: LakeDriver,
) -> None:
    assert day_condition.default_status is dg.DefaultSensorStatus.RUNNING
    home = driver.lake.settings.home
    today = datetime.now(UTC).date()
    with dg.DagsterInstance.ephemeral() as instance:
        first = _evaluate(driver, instance)
        assert isinstance(first, dg.SensorResult)
        days = [r.partition_key for r in first.run_requests or []]
        # Today and the days before, of which instruments.yaml lists what is not there, as well.
        assert len(days) == 20
        assert days[0] == today.isoformat()
        for day in (DAY, today):
            assert run_job(home, "day_condition", day, instance).success
        second = _evaluate(driver, instance)
        assert isinstance(second, dg.SensorResult)
        again = {r.partition_key for r in second.run_requests or []}
        assert not again & {DAY.isoformat(), today.isoformat()}
        late = (datetime.now(UTC) - DAY0) // timedelta(milliseconds=1)
        receive_live(driver, [Print(1000, late, "10", "1")], connection=3)
        driver.tick()
        third = _evaluate(driver, instance)
        assert isinstance(third, dg.SensorResult)
        assert today.isoformat() not in {r.partition_key for r in third.run_requests or []}


def test_what_is_configured_is_what_instruments_yaml_lists_since_anything_arrived(
    driver: LakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = configured(driver.lake)
    assert found.instruments == {Instrumented("binance", "BTC-USDT", Kind.TRADES)}
    assert found.since == DAY
    file = driver.lake.settings.home / "instruments.yaml"
    file.write_text("exchanges: nonsense\n")
    with pytest.raises(UsageError, match=r"instruments.yaml, line 1"):
        configured(driver.lake)
    file.unlink()
    everything = configured(driver.lake).instruments
    assert Instrumented("kraken", "ETH-USD", Kind.QUOTES) in everything
    assert {what.kind for what in everything} == set(Kind)
    given = tmp_path / "given.yaml"
    given.write_text(BTC_ALONE)
    monkeypatch.setenv("K2_INSTRUMENTS", str(given))
    assert configured(driver.lake).instruments == found.instruments


def test_conditions_are_a_table_of_the_lake(driver: LakeDriver) -> None:
    run_job(driver.lake.settings.home, "day_condition", DAY)
    [row] = driver.rows(CONDITION_TABLE)
    assert (row["exchange"], row["symbol"], row["kind"], row["day"]) == (
        "binance",
        "BTC-USDT",
        "trades",
        DAY,
    )
