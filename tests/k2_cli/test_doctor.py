"""Each thing that can be wrong is broken for real, found with its command, and mended by it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import msgspec
import pytest
from typer.testing import CliRunner

from k2_cli import doctor_machine
from k2_cli.doctor import examine
from k2_cli.home import locked_home, prepare_dagster
from k2_cli.instance import make_ready
from k2_cli.main import app
from k2_feeds.kafka.undelivered import DeadLetters, Spool, Undelivered
from k2_lake.quality import health
from k2_market.findings import Finding, State
from tests.faulty import cut, files_of, scramble, small_disk
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver

DAY = DAY0.date()
LETTER = Undelivered("t.raw", None, b"h", b"p", "MSG_SIZE_TOO_LARGE", 1)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What ``disk/home`` was before and after a second tick."""
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "disk").mkdir()
    with small_disk(folder / "disk", "24m"):
        driver = LakeDriver(folder / "disk" / "home")
        for name, ids in (("before", range(40)), ("after", range(40, 80))):
            driver.receive([Print(n, n * 7_000, "10", "1") for n in ids])
            driver.tick()
            shutil.copytree(driver.lake.settings.home, folder / name)
        yield folder


@pytest.fixture
def home(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Always in the same place: Iceberg's files name each other in full."""
    for name in ("K2_HOME", "K2_KAFKA_BOOTSTRAP", "K2_CATALOG_URI", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = built / "disk" / "home"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built / "after", folder)
    return folder


def found(home: Path, *, deep: bool = False) -> list[Finding]:
    """What is not as it should be; the disk of these tests is a very small one."""
    return [f for f in examine(home, deep=deep) if f.state is not State.OK and f.what != "disk"]


def only(findings: list[Finding]) -> Finding:
    [finding] = findings
    return finding


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_sound_home_is_well_and_nothing_of_it_is_changed(home: Path) -> None:
    def state() -> dict[str, bytes]:
        return {
            str(p): p.read_bytes() for p in home.rglob("*") if p.is_file() and "db" not in p.name
        }

    before = state()
    assert found(home, deep=True) == []
    assert state() == before


@pytest.mark.parametrize(
    ("sort", "what"),
    [("metadata file", "metadata"), ("manifest", "metadata"), ("data file", "data")],
)
@pytest.mark.parametrize("break_it", [cut, Path.unlink])
def test_a_broken_file_is_found_by_name_and_well_again_once_restored(
    home: Path, sort: str, what: str, break_it: Callable[[Path], None]
) -> None:
    path = files_of(LakeDriver(home).lake, "gold.trades")[sort]
    whole = path.read_bytes()
    break_it(path)
    told = found(home)
    assert {(f.part, f.what, f.state) for f in told} == {("gold.trades", what, State.WRONG)}
    assert str(path) in told[0].told
    path.write_bytes(whole)
    assert found(home) == []


def test_a_file_with_other_bytes_is_found_by_reading_and_its_day_made_again(home: Path) -> None:
    driver = LakeDriver(home)
    scramble(files_of(driver.lake, "gold.ohlcv_5m")["data file"])
    assert found(home) == []
    finding = only(found(home, deep=True))
    assert (finding.part, finding.what) == ("gold.ohlcv_5m", "data")
    assert finding.mend == f"k2 backfill --asset gold.ohlcv_5m --from {DAY} --to {DAY}"
    assert run(*finding.mend.split()[1:], "--home", str(home))[0] == 0
    assert found(home, deep=True) == []


def test_a_warehouse_that_is_gone_is_one_finding_and_not_one_for_each_table(home: Path) -> None:
    (home / "warehouse").rename(home / "elsewhere")
    finding = only(found(home))
    assert (finding.part, finding.state) == ("store", State.WRONG)
    assert "does not exist" in finding.told
    (home / "elsewhere").rename(home / "warehouse")
    assert found(home) == []


def test_a_catalog_that_is_gone_or_damaged_is_told_and_nothing_made_in_its_place(
    home: Path,
) -> None:
    catalog = home / "catalog.db"
    files = {path: path.read_bytes() for path in home.glob("catalog.db*")}
    for path in files:
        path.unlink()
    assert "does not exist" in only(found(home)).told
    assert not catalog.exists()
    catalog.write_bytes(b"not a database" * 1000)
    finding = only(found(home))
    assert (finding.part, "file is not a database" in finding.told) == ("catalog", True)
    assert finding.mend.startswith(f"restore {catalog} from a backup")
    for path, whole in files.items():
        path.write_bytes(whole)
    assert found(home) == []


def test_secrets_are_never_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2_CATALOG_URI", "postgresql+psycopg2://k2:hunter2@127.0.0.1:1/none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    code, output = run("doctor", "--home", str(home))
    assert (code, "start the database of K2_CATALOG_URI" in output) == (1, True)
    assert "hunter2" not in output


def test_files_that_nothing_reaches_are_counted_and_gc_removes_them(home: Path) -> None:
    data = files_of(LakeDriver(home).lake, "gold.trades")["data file"]
    orphan = data.with_name("left-by-a-killed-writer.parquet")
    orphan.write_bytes(b"x" * 1234)
    os.utime(orphan, (time.time() - 4 * 86_400,) * 2)
    finding = only(found(home))
    assert (finding.part, finding.what, finding.state) == ("gold.trades", "orphans", State.WARNING)
    assert "unused files: 1, 1,234 bytes" in finding.told
    assert run(*finding.mend.split()[1:], "--home", str(home))[0] == 0
    assert not orphan.exists()
    assert found(home) == []


def test_many_snapshots_are_told_and_expire_forgets_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MANY_SNAPSHOTS", 1)
    told = [f for f in found(home) if f.part == "silver.binance_trades"]
    assert only(told).mend == "k2 lake expire --table silver.binance_trades"
    assert "2 snapshots are kept" in told[0].told
    assert run(*told[0].mend.split()[1:], "--home", str(home))[0] == 0


def test_a_table_restored_from_an_older_backup_than_its_followers_is_found(
    built: Path, home: Path
) -> None:
    def location(catalog: Path) -> str:
        with sqlite3.connect(catalog) as connection:
            [[found]] = connection.execute(
                "select metadata_location from iceberg_tables where table_name='binance_trades'"
                " and table_namespace='bronze'"
            )
        connection.close()
        return str(found)

    def restore(catalog: Path) -> None:
        with sqlite3.connect(home / "catalog.db") as connection:
            connection.execute(
                "update iceberg_tables set metadata_location=? where table_name='binance_trades'"
                " and table_namespace='bronze'",
                [location(catalog)],
            )
        connection.close()

    restore(built / "before" / "catalog.db")
    finding = only([f for f in found(home) if f.part == "silver.binance_trades"])
    assert finding.told == "has consumed bronze.binance_trades up to commit 2, which ends at 1"
    restore(built / "after" / "catalog.db")
    assert found(home) == []


def test_frames_that_kafka_has_not_got_are_counted(home: Path) -> None:
    file = Spool(home, "t.raw").write([LETTER])
    letters = DeadLetters(home)
    number = letters.append(LETTER)
    spool, letter = found(home)
    assert spool.told.startswith(f"{file.stat().st_size:,} bytes of frames")
    assert spool.mend == f"k2 feed --home {home}"
    assert letter.mend == f"k2 dlq list --home {home}"
    assert number in run(*letter.mend.split()[1:])[1]
    file.unlink()
    letters.remove(number)
    assert found(home) == []


def test_a_feed_that_has_ended_or_cannot_get_rid_of_its_frames_is_told(home: Path) -> None:
    state = {"failure": "binance accepted no symbol", "connected": False, "frames": 3}
    (home / "feeds.json").write_bytes(msgspec.json.encode({"binance trades": state}))
    ended = only(found(home))
    assert (ended.state, ended.told) == (State.WRONG, "has ended: binance accepted no symbol")
    state = {"failure": None, "connected": True, "trouble": "no answer", "queued": 7, "frames": 9}
    (home / "feeds.json").write_bytes(msgspec.json.encode({"binance trades": state}))
    assert only(found(home)).told == "no answer (7 frames wait)"
    os.utime(home / "feeds.json", (time.time() - 100,) * 2)
    assert found(home) == []


def test_runs_that_nobody_runs_are_found_and_ended_as_the_next_start_does(home: Path) -> None:
    folder = prepare_dagster(home)

    @dg.op
    def nothing() -> None:
        return None

    @dg.job
    def tick() -> None:
        nothing()

    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.create_run_for_job(tick, status=dg.DagsterRunStatus.STARTED)
        finding = only(found(home))
        assert finding.told == "runs that count as under way: 1 (tick), but nobody works here"
        assert finding.mend == f"start the platform, which ends them: k2 demo --home {home}"
        make_ready(instance)
    assert found(home) == []


def test_a_damaged_run_history_is_told(home: Path) -> None:
    folder = prepare_dagster(home)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        assert instance.get_runs_count() == 0
    database = folder / "history" / "runs.db"
    database.write_bytes(b"not a database" * 1000)
    finding = only(found(home))
    assert (finding.part, finding.what, finding.state) == ("dagster", "storage", State.WRONG)


def test_a_platform_without_broker_or_daemon_is_told_while_someone_works_in_the_home(
    home: Path,
) -> None:
    prepare_dagster(home)
    with locked_home(home):
        told = {(f.part, f.what): f.told for f in found(home)}
    assert told == {
        ("kafka", "broker"): "a process works in this home, but no broker runs for it",
        ("dagster", "daemon"): "it never gave a sign of life",
    }
    assert found(home) == []


def test_a_disk_with_little_room_is_wrong(home: Path) -> None:
    if not home.parent.is_mount():
        pytest.skip("no small disk can be mounted here")
    disk = only([f for f in examine(home) if f.what == "disk"])
    assert (disk.state, disk.told) == (State.WRONG, f"0.0 GB free at {home}")
    assert disk.mend == f"make room: k2 lake gc --home {home}"


def test_snapshots_that_a_follower_still_needed_are_missed(home: Path) -> None:
    driver = LakeDriver(home)
    for n in range(100, 103):
        driver.receive([Print(n, n * 7_000, "10", "1")])
    table = driver.lake.table("bronze.binance_trades")
    ids = [s.snapshot_id for s in table.metadata.snapshots][:-1]
    table.maintenance.expire_snapshots().by_ids(ids).commit()
    [lost] = [f for f in found(home) if f.what == "progress"]
    assert lost.told == "snapshots that silver.binance_trades has not followed are gone"
    assert lost.mend == "materialize all days of silver.binance_trades again"


def test_a_commit_of_the_future_tells_that_a_clock_is_wrong(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 3600)
    LakeDriver(home).receive([Print(100, 700_000, "10", "1")])
    monkeypatch.setattr(time, "time", clock)
    finding = only(found(home))
    assert (finding.part, finding.what) == ("clock", "bronze.binance_trades")
    assert re.match(r"its newest commit is 3,[56]\d\d s in the future", finding.told)


@pytest.mark.postgres
def test_the_database_s_clock_is_compared_with_this_one(
    tmp_path: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(minutes=2)

    monkeypatch.setenv("K2_CATALOG_URI", postgres_database)
    LakeDriver(tmp_path).lake.table("gold.trades")
    assert [f for f in found(tmp_path) if f.part == "clock"] == []
    monkeypatch.setattr(health, "datetime", Ahead)
    finding = only([f for f in found(tmp_path) if f.what == "clock"])
    assert re.fullmatch(r"this clock is \+1[12]\d\.\d s from the database's", finding.told)


def test_a_library_of_another_version_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "version", lambda name: "0.1")
    finding = only([f for f in found(home) if f.what == "libraries"])
    assert "duckdb 0.1, not <2.1,>=2.0" in finding.told
    assert finding.mend == "pip install --require-hashes -r requirements.lock"


def test_the_command_shows_parts_figures_and_commands_and_its_exit_code_is_the_verdict(
    home: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "sound"
    LakeDriver(whole).lake.table("gold.trades")
    code, output = run("doctor", "--home", str(whole))
    assert (code, output.splitlines()[-1]) == (0, "all is well")
    assert "1 are sound" in output
    files_of(LakeDriver(home).lake, "gold.trades")["data file"].unlink()
    code, output = run("doctor", "--home", str(home))
    assert code == 1
    assert f"→ k2 backfill --asset gold.trades --from {DAY} --to {DAY} --home" in output
    code, output = run("doctor", "--home", str(home), "--format", "json")
    told = json.loads(output)
    assert code == 1
    assert {"gold.trades"} == {f["part"] for f in told if f["state"] == "wrong"} - {"machine"}
    assert set(told[0]) == {"part", "what", "state", "told", "mend"}
