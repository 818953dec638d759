"""Tables are late when ticks do not come, and in time again after one; a real broker and lake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from k2_assets import freshness as measuring
from k2_assets.resources import BROKER_FOLDER, KafkaResource, LakeResource
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_lake.quality.freshness import SLO_S
from k2_market.kinds import Kind
from k2_sensors.freshness import freshness
from tests.frames import Print
from tests.graphs import run_job

FED = {"bronze.binance_trades", "silver.binance_trades", "gold.trades", "gold.gaps"}
LATE = FED | {f"gold.ohlcv_{t}" for t in ("1m", "5m", "30m", "1h", "1d")}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def broker(home: Path) -> Iterator[EmbeddedBroker]:
    with start_broker(home / BROKER_FOLDER) as running:
        yield running


def _passing(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(seconds=seconds)

    monkeypatch.setattr(measuring, "datetime", Later)
    monkeypatch.setattr("k2_sensors.freshness.datetime", Later)


def _evaluated(
    home: Path, instance: dg.DagsterInstance, cursor: str | None
) -> tuple[dict[str, bool], str, str | None]:
    """What is told of each table, what the tick says, and the cursor after it."""
    resources = {"lake": LakeResource(home=str(home)), "kafka": KafkaResource(home=str(home))}
    context = dg.build_sensor_context(instance=instance, resources=resources, cursor=cursor)
    found = freshness.evaluate_tick(context)
    told = {".".join(e.asset_key.path): e.passed for e in found.asset_events}  # type: ignore[union-attr]
    return told, found.skip_message or "", found.cursor


def test_frames_that_no_tick_fetches_make_tables_late_until_one_comes(
    home: Path, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    today = int(now.timestamp() * 1000)
    with dg.DagsterInstance.ephemeral() as instance:
        told, said, cursor = _evaluated(home, instance, None)
        assert (set(told), set(told.values())) == (set(SLO_S), {True})
        assert said == "every table has what arrived, or soon will"
        with FrameProducer(broker.settings, "binance", Kind.TRADES) as producer:
            frame = Print(1, 0, "10", "1").binance().replace(b'"T":', b'"T":%d,"was":' % today)
            producer.send(Frame(frame, today * 1000, 1, 0), "BTCUSDT")
        told, _, cursor = _evaluated(home, instance, cursor)
        assert told == {}
        _passing(monkeypatch, 130)
        told, said, cursor = _evaluated(home, instance, cursor)
        assert told == dict.fromkeys(LATE, False)
        assert re.search(r"bronze\.binance_trades \(13\d s behind, 30 allowed\)", said)
        assert run_job(home, "tick", now.date(), instance, tick=True).success
        told, said, cursor = _evaluated(home, instance, cursor)
        assert told == dict.fromkeys(LATE, True)
        _passing(monkeypatch, 800)
        told, _, _ = _evaluated(home, instance, cursor)
        assert set(told) == set(SLO_S)


def test_without_a_broker_the_check_says_so_and_the_run_goes_on(tmp_path: Path) -> None:
    resources = {"lake": LakeResource(home=str(tmp_path)), "kafka": KafkaResource(home="none")}
    job = dg.Definitions(
        assets=[dg.AssetSpec(["gold", "trades"])],
        asset_checks=measuring.CHECKS,
        jobs=[dg.define_asset_job("checks", measuring.FRESH_CHECKS)],
        resources=resources,
    ).resolve_job_def("checks")
    result = job.execute_in_process()
    assert result.success
    checks = result.get_asset_check_evaluations()
    assert {c.passed for c in checks} == {False}
    assert "no broker" in str(checks[0].metadata["not_measured"].value)
