"""The job ``repair``, as it is started from Dagster's page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from k2_assets.resources import BROKER_FOLDER
from k2_feeds.kafka.broker import start_broker
from k2_lake.quality.gaps import recorded_gaps
from tests.frames import Print
from tests.graphs import graph
from tests.lakes import LakeDriver
from tests.simulations import simulator


def test_what_no_history_has_is_given_up_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1"), Print(4, 100, "10", "1")])
    driver.tick()
    with simulator(["BTC-USDT"], rate=100) as served, start_broker(tmp_path / BROKER_FOLDER):
        monkeypatch.setenv("K2_REST_ENDPOINT", served.endpoint)
        while not served.exchanges["binance"].history:
            time.sleep(0.02)
        result = graph(tmp_path).resolve_job_def("repair").execute_in_process()
    [told] = [e.step_output_data.metadata for e in result.all_events if e.is_successful_output]
    assert {name: value.value for name, value in told.items()} == {
        "gaps": 1,
        "trades": 0,
        "frames": 0,
        "unrepairable": 1,
        "failed": 0,
    }
    [gap] = recorded_gaps(driver.lake, driver.engine)
    assert (gap.state, gap.reason) == (
        "unrepairable",
        "binance: its history has no trades with these ids",
    )
