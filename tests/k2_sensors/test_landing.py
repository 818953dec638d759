"""Files put into the landing folder, loaded by the run that the sensor requests."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from k2_assets.ingest import drain
from k2_assets.landing import LANDING, landing_folder, load_file, move
from k2_assets.resources import BROKER_FOLDER, KafkaResource, LakeResource
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_market.kinds import Kind
from k2_sensors.landing import FILES_AT_ONCE, complete, files_seen, landing
from tests.archives import zipped
from tests.lakes import LakeDriver

ROWS = "".join(f"{n},100.5,0.25,25.1,{1723161255342 + n},True,True\n" for n in range(1, 31))
NAME = "binance/trades/BTCUSDT-trades-2024-08-08"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with start_broker(tmp_path / BROKER_FOLDER) as running:
        yield running


@contextmanager
def bronze_follows(home: Path, broker: EmbeddedBroker) -> Iterator[None]:
    """What ticks do beside a landing run: bring what is in Kafka to bronze."""
    lake, stop = LakeDriver(home).lake, threading.Event()

    def follow() -> None:
        while not stop.wait(0.1):
            drain(lake, broker.settings, "binance", Kind.TRADES)

    following = threading.Thread(target=follow)
    following.start()
    try:
        yield
    finally:
        stop.set()
        following.join()


def put(home: Path, text: str = ROWS, name: str = NAME, checksum: str | None = None) -> Path:
    plain = landing_folder(home) / f"{name}.csv"
    plain.parent.mkdir(parents=True, exist_ok=True)
    plain.write_text(text)
    packed = zipped(plain.with_suffix(".zip"), plain, checksum=checksum)
    plain.unlink()
    return packed


def evaluate(home: Path, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    resources = {"lake": LakeResource(home=str(home))}
    context = dg.build_sensor_context(instance=instance, resources=resources, cursor=cursor)
    found = landing(context)
    assert isinstance(found, dg.SensorResult), found
    return found


def run(home: Path, instance: dg.DagsterInstance, files: list[str]) -> bool:
    resources = {"lake": LakeResource(home=str(home)), "kafka": KafkaResource(home=str(home))}
    defs = dg.Definitions(jobs=[LANDING], resources=resources)
    config = {"ops": {"load_landed": {"config": {"files": files}}}}
    return defs.resolve_job_def("landing").execute_in_process(config, instance=instance).success


def listed(home: Path) -> list[str]:
    folder = landing_folder(home)
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_complete_file_is_loaded_once_and_moved_with_its_checksum(
    tmp_path: Path, instance: dg.DagsterInstance, broker: EmbeddedBroker
) -> None:
    put(tmp_path)
    first = evaluate(tmp_path, instance, None)
    assert not first.run_requests
    second = evaluate(tmp_path, instance, first.cursor)
    [request] = second.run_requests or []
    assert request.run_config == {"ops": {"load_landed": {"config": {"files": [f"{NAME}.zip"]}}}}
    assert request.run_key is not None
    assert request.run_key.endswith("-1")
    with bronze_follows(tmp_path, broker):
        assert run(tmp_path, instance, [f"{NAME}.zip"])
    assert listed(tmp_path) == [f"done/{NAME}.zip", f"done/{NAME}.zip.CHECKSUM"]
    driver = LakeDriver(tmp_path)
    assert len(driver.rows("bronze.binance_trades")) == 30
    assert run(tmp_path, instance, [f"{NAME}.zip"])
    driver.tick()
    assert len(driver.rows("gold.trades")) == 30


def test_a_run_killed_before_it_moved_the_file_adds_nothing_when_it_is_repeated(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    put(tmp_path)
    driver, folder = LakeDriver(tmp_path), landing_folder(tmp_path)
    with bronze_follows(tmp_path, broker):
        for _ in range(2):
            assert load_file(driver.lake, broker.settings, folder, f"{NAME}.zip") == 30
    move(folder, f"{NAME}.zip", "done")
    assert load_file(driver.lake, broker.settings, folder, f"{NAME}.zip") == 0
    driver.tick()
    assert len(driver.rows("silver.binance_trades")) == 60
    assert len(driver.rows("gold.trades")) == 30


def test_a_file_that_cannot_be_loaded_is_put_aside_with_its_reason_and_the_next_is_loaded(
    tmp_path: Path, instance: dg.DagsterInstance, broker: EmbeddedBroker
) -> None:
    put(tmp_path, checksum="0" * 64, name="binance/trades/bad")
    put(tmp_path)
    put(tmp_path, name="mtgox/trades/BTCUSD")
    names = list(files_seen(landing_folder(tmp_path)))
    assert names == [f"{NAME}.zip", "binance/trades/bad.zip", "mtgox/trades/BTCUSD.zip"]
    with bronze_follows(tmp_path, broker):
        assert run(tmp_path, instance, names)
    assert files_seen(landing_folder(tmp_path)) == {}
    failed = landing_folder(tmp_path) / "failed"
    assert "says 000" in (failed / "binance/trades/bad.zip.reason").read_text()
    assert "unknown exchange 'mtgox'" in (failed / "mtgox/trades/BTCUSD.zip.reason").read_text()
    assert len(LakeDriver(tmp_path).rows("bronze.binance_trades")) == 30


def test_a_file_that_grows_or_is_no_archive_yet_waits(tmp_path: Path) -> None:
    packed = put(tmp_path)
    for name in ("more.csv.part", ".hidden", "x.crdownload"):
        packed.with_name(name).write_text(ROWS)
    folder = landing_folder(tmp_path)
    before = files_seen(folder)
    assert list(before) == [f"{NAME}.zip"]
    with packed.open("ab") as file:
        file.write(b"more")
    assert complete(before, files_seen(folder)) == []
    assert complete(files_seen(folder), files_seen(folder)) == [f"{NAME}.zip"]
    os.utime(packed, ns=(1, 1))
    assert complete(before, files_seen(folder)) == []


def test_many_files_are_loaded_in_parts() -> None:
    seen = {f"binance/trades/{n:04}": (1, 1) for n in range(FILES_AT_ONCE + 5)}
    assert complete(seen, seen) == list(seen)[:FILES_AT_ONCE]


def test_an_empty_folder_and_a_run_under_way_start_nothing(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    resources = {"lake": LakeResource(home=str(tmp_path))}
    context = dg.build_sensor_context(instance=instance, resources=resources)
    assert isinstance(landing(context), dg.SkipReason)
    put(tmp_path)
    first = evaluate(tmp_path, instance, None)
    defs = dg.Definitions(jobs=[LANDING], resources={**resources, "kafka": KafkaResource()})
    instance.create_run_for_job(
        defs.resolve_job_def("landing"),
        run_config={"ops": {"load_landed": {"config": {"files": []}}}},
        status=dg.DagsterRunStatus.STARTED,
    )
    second = evaluate(tmp_path, instance, first.cursor)
    assert not second.run_requests
    assert "a run is under way" in str(second.skip_reason)
    assert list(json.loads(second.cursor or "")) == [f"{NAME}.zip"]


def test_a_name_that_is_taken_keeps_both_files(tmp_path: Path) -> None:
    for _ in range(2):
        put(tmp_path)
        move(landing_folder(tmp_path), f"{NAME}.zip", "done")
    assert listed(tmp_path) == [
        f"done/{NAME}.zip",
        f"done/{NAME}.zip.2",
        f"done/{NAME}.zip.2.CHECKSUM",
        f"done/{NAME}.zip.CHECKSUM",
    ]
