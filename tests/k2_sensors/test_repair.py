"""The sensor of repairs: off until it is wanted, then one run for what is open."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.resources import LakeResource
from k2_sensors.repair import repair
from tests.frames import Print
from tests.lakes import LakeDriver


def _evaluate(home: Path, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    resources = {
        "lake": LakeResource(home=str(home)),
        "duckdb": DuckDBResource(database=":memory:"),
    }
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        found = repair(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_it_is_off_at_first_and_asks_for_a_run_only_while_a_gap_is_open(tmp_path: Path) -> None:
    assert repair.default_status is dg.DefaultSensorStatus.STOPPED
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1"), Print(4, 100, "10", "1")])
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(_evaluate(tmp_path, instance), dg.SkipReason)
        driver.tick()
        first = _evaluate(tmp_path, instance)
        assert isinstance(first, dg.SensorResult)
        [request] = first.run_requests or []
        driver.receive([Print(7, 200, "10", "1")])
        driver.tick()
        second = _evaluate(tmp_path, instance)
        assert isinstance(second, dg.SensorResult)
        assert [r.run_key for r in second.run_requests or []] != [request.run_key]
        driver.receive([Print(n, n, "10", "1") for n in (2, 3, 5, 6)])
        driver.tick()
        assert isinstance(_evaluate(tmp_path, instance), dg.SkipReason)
