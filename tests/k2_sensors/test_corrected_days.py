"""A day of bronze that was put right reaches the candles of exactly the days it told of."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from k2_assets.resources import LakeResource
from k2_lake.bronze import position
from k2_lake.bronze_days import held_day, replace_day
from k2_lake.silver import refine
from k2_lake.tables import bronze_name, candle_name
from k2_market.kinds import Kind
from k2_sensors import touched_days as day_sensors
from tests.frames import ARRIVAL, DAY0, Print, prints_table
from tests.graphs import run_job
from tests.lakes import LakeDriver, parser

DAY = 86_400_000
BRONZE = bronze_name("binance", Kind.TRADES)


@pytest.mark.timeout(300)
def test_days_told_before_and_now_are_requested_years_back_too_and_no_other(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1"), Print(2, DAY, "10", "1")])
    frames = prints_table([Print(3, 2 * DAY, "10", "1")], 2, arrived=ARRIVAL + timedelta(days=1))
    driver.receive_frames(frames)
    driver.tick()
    table = driver.lake.table(BRONZE)
    at = position(table)
    assert at is not None
    held = held_day(driver.engine, table, ARRIVAL.date(), at)
    years = -5 * 365 * DAY
    other = prints_table([Print(1, 0, "10", "1"), Print(2, years, "10", "1")])
    replace_day(table, held, [other], 2)
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())

    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"lake": LakeResource(home=str(tmp_path))}
        context = dg.build_sensor_context(instance=instance, resources=resources)
        found = day_sensors.touched_days(Kind.TRADES)(context)
        assert isinstance(found, dg.SensorResult)
        old, first, second = ((DAY0 + timedelta(milliseconds=ms)).date() for ms in (years, 0, DAY))
        requested = sorted(str(r.partition_key) for r in found.run_requests or [])
        assert requested == [f"{old}", f"{first}", f"{second}"]
        assert run_job(tmp_path, "trade_day", old, instance, tick=True).success
    days = [str(c["window_date"]) for c in driver.rows(candle_name("1d"))]
    assert days == [f"{old}", f"{first}", f"{second}", f"{second + timedelta(days=1)}"]
