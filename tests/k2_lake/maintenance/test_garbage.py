"""What nothing reaches and is old is deleted, and not one file that a kept snapshot needs."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlparse

import pyarrow.fs as pafs
import pytest

from k2_lake.commit import written_files
from k2_lake.gold import merge
from k2_lake.history import lineage
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import expire
from k2_lake.maintenance.garbage import GRACE, reached, sweep
from k2_lake.maintenance.ledger import recorded
from k2_lake.scan import planned
from k2_lake.silver import refine
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import FileBroken
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver, parser
from tests.services import S3Server

pytestmark = pytest.mark.local_storage

AT_ONCE = timedelta(0)
SILVER = "silver.binance_trades"


def filled(home: Path, env: dict[str, str] | None = None, ticks: int = 4) -> LakeDriver:
    driver = LakeDriver(home, env)
    for n in range(ticks):
        driver.receive([Print(n, n, "10", "1")])
        refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    merge(driver.lake, driver.engine, Kind.TRADES, DAY0.date())
    return driver


def compacted_and_expired(driver: LakeDriver) -> None:
    list(compact(driver.lake, driver.engine, SILVER, quiet=AT_ONCE))
    merge(driver.lake, driver.engine, Kind.TRADES, DAY0.date(), recompute=True)
    expire(driver.lake, SILVER, keep=1, young=AT_ONCE)


def files_of(driver: LakeDriver, name: str = SILVER) -> set[str]:
    folder = Path(urlparse(driver.lake.table(name).location()).path)
    return {str(p) for p in folder.rglob("*") if p.is_file()}


def reached_files(driver: LakeDriver, name: str = SILVER) -> set[str]:
    return {urlparse(p).path for p in reached(driver.lake.table(name))}


def test_what_expiry_let_go_is_deleted_and_the_rows_stay(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    compacted_and_expired(driver)
    before, rows, needed = files_of(driver), driver.rows(SILVER), reached_files(driver)
    assert needed < before
    done = sweep(driver.lake, SILVER, grace=AT_ONCE)
    assert done is not None
    assert done.deed is not None
    assert {f.path for f in done.garbage} == before - needed
    assert files_of(driver) == needed
    assert driver.rows(SILVER) == rows
    assert len([p for p in needed if p.endswith(".parquet")]) == 1
    told = recorded(driver.lake).to_pylist()[0]
    assert (told["action"], told["bytes_freed"]) == ("gc", done.bytes)
    assert (told["files_before"], told["files_after"]) == (len(before), len(needed))
    again = sweep(driver.lake, SILVER, grace=AT_ONCE)
    assert again is not None
    assert (again.garbage, again.deed) == ((), None)


def test_a_file_of_a_commit_under_way_is_left_alone(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    table = driver.lake.table(SILVER)
    rows = table.scan().to_arrow().select(TRADE.columns).cast(TRADE.schema)
    [orphan] = written_files(table, rows)
    path = Path(urlparse(orphan.file_path).path)
    seen = sweep(driver.lake, SILVER)
    assert seen is not None
    assert (seen.garbage, seen.young) == ((), 1)
    old = time.time() - GRACE.total_seconds() - 60
    os.utime(path, (old, old))
    seen = sweep(driver.lake, SILVER, dry_run=True)
    assert seen is not None
    assert seen.deed is not None
    assert [f.path for f in seen.garbage] == [str(path)]
    assert (seen.bytes, seen.deed.bytes_freed) == (orphan.file_size_in_bytes, 0)
    assert path.exists()
    sweep(driver.lake, SILVER)
    assert not path.exists()


def test_every_kept_snapshot_stays_readable_named_ones_too(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    table = driver.lake.table(SILVER)
    first = lineage(table)[-1].snapshot_id
    table.manage_snapshots().create_tag(first, "first").commit()
    compacted_and_expired(driver)
    sweep(driver.lake, SILVER, grace=AT_ONCE)
    assert driver.engine.query(
        "select trade_id from rows",
        {"rows": planned(driver.lake.table(SILVER), TRADE.schema, snapshot_id=first)},
    )["trade_id"].to_pylist() == ["0"]


def test_where_a_needed_file_is_missing_nothing_is_deleted(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    compacted_and_expired(driver)
    [data] = [p for p in reached_files(driver) if p.endswith(".parquet")]
    Path(data).rename(tmp_path / "elsewhere")
    before = files_of(driver)
    with pytest.raises(FileBroken, match=r"silver\.binance_trades: .* is not there, but a snap"):
        sweep(driver.lake, SILVER, grace=AT_ONCE)
    assert files_of(driver) == before


def test_a_list_that_tells_of_too_few_files_is_not_believed(tmp_path: Path) -> None:
    driver = filled(tmp_path)
    table = driver.lake.table(TRADES_TABLE)
    lists = [Path(urlparse(s.manifest_list).path) for s in lineage(driver.lake.table(SILVER))]
    lists[0].write_bytes(lists[-1].read_bytes())
    with pytest.raises(FileBroken, match="leads to 1 data files where 4 are told of"):
        sweep(driver.lake, SILVER, grace=AT_ONCE)
    assert sweep(driver.lake, "gold.quotes") is None
    assert table.current_snapshot() is not None


@pytest.mark.s3
def test_a_store_is_swept_as_a_folder_is(tmp_path: Path, s3_server: S3Server) -> None:
    env = {**s3_server.environment, "K2_WAREHOUSE": f"s3://{s3_server.new_bucket()}/lake"}
    driver = filled(tmp_path, env)
    compacted_and_expired(driver)
    rows = driver.rows(SILVER)
    done = sweep(driver.lake, SILVER, grace=AT_ONCE)
    assert done is not None
    assert len([f for f in done.garbage if f.path.endswith(".parquet")]) == 4
    assert driver.rows(SILVER) == rows
    table = driver.lake.table(SILVER)
    store = driver.lake.io.fs_by_scheme("s3", urlparse(table.location()).netloc)
    base = table.location().removeprefix("s3://")
    left = store.get_file_info(pafs.FileSelector(base, recursive=True))
    kept = {p.removeprefix("s3://") for p in reached(table)}
    assert {i.path for i in left if i.type == pafs.FileType.File} == kept
