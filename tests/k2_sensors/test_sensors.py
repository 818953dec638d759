"""The sensors over a real broker, a real lake and a real run history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from k2_assets.ingest import drain
from k2_assets.resources import BROKER_FOLDER, KafkaResource, LakeResource
from k2_assets.tables import BACKLOG_TAG, MODE_TAG, PARTITION_TAG
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_lake.bronze import begin_epoch, position
from k2_lake.gold import merge
from k2_lake.silver import refine
from k2_lake.tables import (
    CONDITION_TABLE,
    INSTRUMENTS_TABLE,
    MAINTENANCE_TABLE,
    RECONCILIATION_TABLE,
    TABLES,
    bronze_name,
)
from k2_market.kinds import Kind
from k2_sensors import kafka_lag as lag_sensors
from k2_sensors import touched_days as day_sensors
from tests.frames import DAY0, Print
from tests.graphs import graph, materialized, run_job
from tests.lakes import LakeDriver, parser

DAY = 86_400_000
TODAY = DAY0.date()
kafka_lag = lag_sensors.kafka_lag(Kind.TRADES)
touched_days = day_sensors.touched_days(Kind.TRADES)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with start_broker(tmp_path / BROKER_FOLDER) as running:
        yield running


def produce(broker: EmbeddedBroker, prints: list[Print]) -> None:
    with FrameProducer(broker.settings, "binance", Kind.TRADES) as producer:
        for n, p in enumerate(prints):
            producer.send(Frame(p.binance(), p.received_us, 1, n), p.symbol)


def evaluate(
    sensor: dg.SensorDefinition, home: Path, instance: dg.DagsterInstance
) -> list[dg.RunRequest] | str:
    """The requests of one evaluation, or why there are none."""
    resources = {"lake": LakeResource(home=str(home))}
    if sensor is kafka_lag:
        resources["kafka"] = KafkaResource(home=str(home))  # type: ignore[assignment]
    context = dg.build_sensor_context(instance=instance, resources=resources)
    found = sensor(context)
    if isinstance(found, dg.SkipReason):
        return str(found.skip_message)
    assert isinstance(found, dg.SensorResult)
    return list(found.run_requests or [])


def one(found: list[dg.RunRequest] | str) -> dg.RunRequest:
    assert isinstance(found, list), found
    [request] = found
    return request


def record_run(
    home: Path,
    instance: dg.DagsterInstance,
    job: str,
    request: dg.RunRequest,
    status: dg.DagsterRunStatus,
) -> dg.DagsterRun:
    """What the daemon does with a request, up to that status."""
    created = dg.DagsterRunStatus.STARTED
    run = instance.create_run_for_job(
        graph(home).resolve_job_def(job),
        tags={**request.tags, PARTITION_TAG: str(request.partition_key)},
        status=created,
    )
    if status is dg.DagsterRunStatus.FAILURE:
        instance.report_run_failed(run)
    elif status is dg.DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run)
    return run


def later(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + by

    monkeypatch.setattr("k2_sensors.kafka_lag.datetime", Later)
    monkeypatch.setattr("k2_sensors.touched_days.datetime", Later)


def test_both_run_by_default_at_five_seconds() -> None:
    for sensor in (kafka_lag, touched_days):
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.minimum_interval_seconds == 5


def test_frames_become_candles_through_what_the_sensors_request(
    tmp_path: Path, instance: dg.DagsterInstance, broker: EmbeddedBroker
) -> None:
    assert str(evaluate(kafka_lag, tmp_path, instance)).startswith("every frame in Kafka is in")
    assert str(evaluate(touched_days, tmp_path, instance)).startswith("every day that")
    produce(broker, [Print(n, n * 1000, "10", "1") for n in range(20)])
    request = one(evaluate(kafka_lag, tmp_path, instance))
    today = datetime.now(UTC).date()
    assert request.partition_key == today.isoformat()
    assert request.tags[MODE_TAG] == "tick"
    assert request.run_key == f"{request.tags[BACKLOG_TAG]}-1"
    assert one(evaluate(kafka_lag, tmp_path, instance)).run_key == request.run_key
    result = run_job(tmp_path, "tick", today, instance, tick=True)
    assert result.success
    of_their_own = {INSTRUMENTS_TABLE, MAINTENANCE_TABLE, CONDITION_TABLE, RECONCILIATION_TABLE}
    assert materialized(result) == {t for t in TABLES if "quotes" not in t} - of_their_own
    assert str(evaluate(kafka_lag, tmp_path, instance)).startswith("every frame in Kafka is in")

    request = one(evaluate(touched_days, tmp_path, instance))
    assert request.partition_key == TODAY.isoformat()
    assert run_job(tmp_path, "trade_day", TODAY, instance, tick=True).success
    assert str(evaluate(touched_days, tmp_path, instance)).startswith("every day that")
    [candle] = LakeDriver(tmp_path).rows("gold.ohlcv_1d")
    assert candle["trade_count"] == 20


def test_no_broker_is_a_reason_and_not_a_failure(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    assert str(evaluate(kafka_lag, tmp_path, instance)).startswith("no broker: K2_KAFKA_BOOTSTRAP")


def test_a_backlog_is_not_worked_on_twice_at_once_and_a_failure_is_tried_again(
    tmp_path: Path,
    instance: dg.DagsterInstance,
    broker: EmbeddedBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    produce(broker, [Print(1, 0, "10", "1")])
    request = one(evaluate(kafka_lag, tmp_path, instance))
    run = record_run(tmp_path, instance, "tick", request, dg.DagsterRunStatus.STARTED)
    busy = "a run is under way; waiting with 1 frames of binance"
    assert evaluate(kafka_lag, tmp_path, instance) == busy
    produce(broker, [Print(2, 0, "10", "1")])
    assert evaluate(kafka_lag, tmp_path, instance) == busy.replace("1 frames", "2 frames")
    instance.report_run_failed(run)
    waiting = evaluate(kafka_lag, tmp_path, instance)
    assert str(waiting).startswith("attempt 1 did not clear 2 frames of binance; next one at ")
    later(monkeypatch, timedelta(seconds=11))
    again = one(evaluate(kafka_lag, tmp_path, instance))
    assert again.run_key == f"{again.tags[BACKLOG_TAG]}-1"
    assert again.run_key != request.run_key
    record_run(tmp_path, instance, "tick", again, dg.DagsterRunStatus.CANCELED)
    later(monkeypatch, timedelta(seconds=19))
    assert str(evaluate(kafka_lag, tmp_path, instance)).startswith("attempt 2 did not clear")
    later(monkeypatch, timedelta(seconds=25))
    third = one(evaluate(kafka_lag, tmp_path, instance))
    assert third.run_key == f"{again.tags[BACKLOG_TAG]}-2"


def test_rows_of_bronze_that_silver_lacks_are_a_backlog_too(
    tmp_path: Path, instance: dg.DagsterInstance, broker: EmbeddedBroker
) -> None:
    produce(broker, [Print(1, 0, "10", "1")])
    driver = LakeDriver(tmp_path)
    drain(driver.lake, broker.settings, "binance", Kind.TRADES)
    assert one(evaluate(kafka_lag, tmp_path, instance)).run_key
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    assert str(evaluate(kafka_lag, tmp_path, instance)).startswith("every frame in Kafka is in")


def test_a_topic_that_ends_before_what_bronze_has_is_not_taken_for_a_quiet_one(
    tmp_path: Path, instance: dg.DagsterInstance, broker: EmbeddedBroker
) -> None:
    produce(broker, [Print(1, 0, "10", "1")])
    driver = LakeDriver(tmp_path)
    drain(driver.lake, broker.settings, "binance", Kind.TRADES)
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    table = driver.lake.table(bronze_name("binance", Kind.TRADES))
    at = position(table)
    assert at is not None
    ahead = {p: o + 5 for p, o in at.offsets.items()}
    begin_epoch(table, "market.crypto.trades.binance.raw", at.cluster_id, ahead)
    one(evaluate(kafka_lag, tmp_path, instance))
    result = run_job(tmp_path, "tick", datetime.now(UTC).date(), instance, tick=True)
    assert not result.success
    errors = [str(e.step_failure_data.error) for e in result.get_step_failure_events()]
    assert any("OffsetBeyondEnd" in e for e in errors)


def touched(home: Path, prints: list[Print]) -> LakeDriver:
    driver = LakeDriver(home)
    driver.receive(prints)
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    return driver


def test_a_late_trade_requests_its_own_day_and_no_other(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    driver = touched(tmp_path, [Print(2, 0, "10", "1"), Print(3, DAY, "10", "1")])
    found = evaluate(touched_days, tmp_path, instance)
    assert [r.partition_key for r in found if isinstance(r, dg.RunRequest)] == [
        "2024-08-08",
        "2024-08-09",
    ]
    driver.tick()
    touched(tmp_path, [Print(1, -3 * DAY, "10", "1")])
    request = one(evaluate(touched_days, tmp_path, instance))
    assert request.partition_key == "2024-08-05"
    assert request.tags[MODE_TAG] == "tick"


def test_candles_behind_gold_request_their_day(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    driver = touched(tmp_path, [Print(2, 0, "10", "1")])
    first = one(evaluate(touched_days, tmp_path, instance))
    merge(driver.lake, driver.engine, Kind.TRADES, TODAY)
    second = one(evaluate(touched_days, tmp_path, instance))
    assert (first.partition_key, second.partition_key) == (str(TODAY), str(TODAY))
    assert first.run_key != second.run_key
    driver.candles(TODAY)
    third = one(evaluate(touched_days, tmp_path, instance))
    assert third.run_key not in (first.run_key, second.run_key)
    driver.gaps(TODAY)
    assert str(evaluate(touched_days, tmp_path, instance)).startswith("every day that")


def test_a_day_under_way_waits_alone_and_a_failed_one_is_tried_again(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched(tmp_path, [Print(2, 0, "10", "1"), Print(3, DAY, "10", "1")])
    both = evaluate(touched_days, tmp_path, instance)
    assert isinstance(both, list)
    run = record_run(tmp_path, instance, "trade_day", both[0], dg.DagsterRunStatus.STARTED)
    assert one(evaluate(touched_days, tmp_path, instance)).partition_key == "2024-08-09"
    instance.report_run_failed(run)
    assert one(evaluate(touched_days, tmp_path, instance)).partition_key == "2024-08-09"
    later(monkeypatch, timedelta(seconds=11))
    again = evaluate(touched_days, tmp_path, instance)
    assert isinstance(again, list)
    assert [r.run_key for r in again] == [
        f"{both[0].tags[BACKLOG_TAG]}-2",
        f"{both[1].tags[BACKLOG_TAG]}-1",
    ]


def test_a_tick_under_way_has_its_own_day(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    touched(tmp_path, [Print(2, 0, "10", "1")])
    request = one(evaluate(touched_days, tmp_path, instance))
    record_run(tmp_path, instance, "tick", request, dg.DagsterRunStatus.STARTED)
    found = evaluate(touched_days, tmp_path, instance)
    assert found == "a run is under way; waiting with 2024-08-08"


def test_a_day_that_has_not_begun_waits(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched(tmp_path, [Print(2, 0, "10", "1")])
    before = datetime.now(UTC) - datetime(2024, 8, 7, 23, tzinfo=UTC)
    later(monkeypatch, -before)
    assert evaluate(touched_days, tmp_path, instance) == "2024-08-08 has not begun"
    later(monkeypatch, -before + timedelta(hours=2))
    assert one(evaluate(touched_days, tmp_path, instance)).partition_key == str(TODAY)


def test_old_days_that_fail_do_not_keep_later_ones_from_their_turn(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2_sensors.touched_days.DAYS_AT_ONCE", 2)
    touched(tmp_path, [Print(n, n * DAY, "10", "1") for n in range(4)])
    found = evaluate(touched_days, tmp_path, instance)
    assert isinstance(found, list)
    assert len(found) == 2
    runs = [
        record_run(tmp_path, instance, "trade_day", r, dg.DagsterRunStatus.STARTED) for r in found
    ]
    waits = evaluate(touched_days, tmp_path, instance)
    assert waits == "2024-08-08 and later days wait for runs to end"
    for run in runs:
        instance.report_run_failed(run)
    found = evaluate(touched_days, tmp_path, instance)
    assert isinstance(found, list)
    days: list[date] = [date.fromisoformat(str(r.partition_key)) for r in found]
    assert days == [TODAY + timedelta(days=2), TODAY + timedelta(days=3)]
