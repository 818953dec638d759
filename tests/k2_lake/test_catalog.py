"""Opening the lake: where it is, its tables, and what is told when it cannot be opened."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from k2_lake.catalog import Lake, LakeSettings
from k2_lake.tables import TABLES, TRADES_TABLE
from k2_market.errors import LakeUnavailable, SchemaMismatch, UnknownName
from tests.lakes import open_lake


def test_settings_come_from_the_environment_and_hide_the_secrets(tmp_path: Path) -> None:
    env = {
        "K2_HOME": str(tmp_path / "elsewhere"),
        "K2_CATALOG_URI": "postgresql+psycopg2://u@h/d",
        "K2_WAREHOUSE": "s3://bucket/lake",
        "K2_S3_ENDPOINT": "http://127.0.0.1:9",
        "K2_S3_REGION": "eu",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
    }
    found = LakeSettings.from_environment(env)
    assert (found.home, found.catalog_uri) == (tmp_path / "elsewhere", env["K2_CATALOG_URI"])
    assert found.warehouse == "s3://bucket/lake"
    assert found.store == {
        "s3.endpoint": "http://127.0.0.1:9",
        "s3.region": "eu",
        "s3.access-key-id": "id",
        "s3.secret-access-key": "hunter2",
    }
    assert "hunter2" not in repr(found)
    assert LakeSettings.from_environment(env, tmp_path).home == tmp_path


def test_every_table_has_the_columns_and_docs_of_its_record_and_partitions_by_day(
    tmp_path: Path,
) -> None:
    lake = open_lake(tmp_path)
    for name, definition in TABLES.items():
        table = lake.table(name)
        fields = table.schema().fields
        assert [f.name for f in fields] == definition.record.columns
        assert all(f.doc for f in fields), name
        assert {f.name: not f.required for f in fields} == {
            f.name: f.nullable for f in definition.schema
        }
        assert [f.name for f in table.spec().fields] == list(definition.partition_columns)
        assert table.properties["commit.retry.num-retries"] == "0"
        assert table.properties["comment"] == definition.doc
    assert lake.table(TRADES_TABLE).metadata.table_uuid == table_uuid(tmp_path)


def table_uuid(home: Path) -> object:
    return open_lake(home).table(TRADES_TABLE).metadata.table_uuid


def test_an_unknown_table_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown table 'gold\.ohlcv_2m'.*gold\.ohlcv_1m"):
        open_lake(tmp_path).table("gold.ohlcv_2m")


@pytest.mark.local_storage
def test_many_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(table_uuid, [tmp_path] * 8))
    assert len(set(found)) == 1


@pytest.mark.postgres
def test_many_may_open_a_new_postgres_catalog_at_once(
    tmp_path: Path, postgres_database: str
) -> None:
    def opened(_: int) -> object:
        lake = open_lake(tmp_path, {"K2_CATALOG_URI": postgres_database})
        return lake.table(TRADES_TABLE).metadata.table_uuid

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(opened, range(6)))) == 1


def test_a_table_that_lacks_what_its_record_requires_is_refused(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    with lake.table(TRADES_TABLE).update_schema() as update:
        update.delete_column("price")
    with pytest.raises(SchemaMismatch, match=r"gold\.trades .* Trade requires the column price"):
        lake.table(TRADES_TABLE)


@pytest.mark.local_storage
def test_a_table_whose_metadata_is_gone_is_out_of_reach(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    location = lake.table(TRADES_TABLE).metadata_location
    Path(location.removeprefix("file://")).unlink()
    with pytest.raises(LakeUnavailable, match=r"gold\.trades: the metadata file .* is missing\."):
        lake.table(TRADES_TABLE)


@pytest.mark.local_storage
def test_the_sqlite_catalog_lets_readers_read_while_one_writes(tmp_path: Path) -> None:
    open_lake(tmp_path).table(TRADES_TABLE)
    connection = sqlite3.connect(tmp_path / "catalog.db")
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_catalog_nobody_listens_for_is_out_of_reach(tmp_path: Path) -> None:
    uri = "postgresql+psycopg2://k2@127.0.0.1:1/none"
    settings = LakeSettings(tmp_path, uri, f"file://{tmp_path}")
    with pytest.raises(LakeUnavailable, match="the catalog cannot be opened: OperationalError"):
        Lake(settings).table(TRADES_TABLE)
