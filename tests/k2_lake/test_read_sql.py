from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from k2_lake.catalog import Lake, LakeSettings
from k2_lake.read_sql import existing_lake, read_sql
from k2_lake.tables import TABLES
from k2_market.errors import LakeUnavailable, QueryRefused, UsageError
from tests.k2_api.lake_of_trades import Made, TradeLake, many
from tests.services import S3Server

TRADES = [*many(12), Made(99, 90_000, price="0.00000001", conditions=["A"], vendor={"k": "v"})]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    lake = TradeLake(tmp_path_factory.mktemp("sql"))
    lake.add(TRADES)
    return lake


def rows(lake: Lake, sql: str) -> list[dict[str, Any]]:
    with read_sql(lake, sql) as result:
        return [row for batch in result.batches for row in batch.to_pylist()]


def value(lake: Lake, sql: str) -> Any:
    (row,) = rows(lake, sql)
    (found,) = row.values()
    return found


def refused(lake: Lake, sql: str) -> str:
    with pytest.raises(QueryRefused) as caught, read_sql(lake, sql) as result:
        list(result.batches)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_table_stands_under_its_name(filled: TradeLake) -> None:
    assert {r["name"] for r in rows(filled.lake, "show tables")} == set(TABLES)
    counts = {name: value(filled.lake, f"select count(*) from {name}") for name in TABLES}
    assert counts["gold.trades"] == counts["silver.binance_trades"] == len(TRADES)
    assert counts["gold.ohlcv_1d"] == 2
    assert counts["silver.rejected"] == counts["bronze.kraken_trades"] == 0


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from GOLD.Trades",
        'select count(*) from "gold"."trades"',
        'select count(*) from "gold.trades"',
        "select count(*) from memory.gold.trades",
        "select count(*) from gold.trades;",
        "-- a comment\nselect count(*) /* another; one */ from gold.trades",
        "with t as (select * from gold.trades) select count(*) from t",
        "with recursive n as (select 1 i union select i+1 from n where i<13) from n select max(i)",
        "select count(*) from (from gold.trades union all from gold.trades limit 13)",
        "from gold.trades select count(*)",
        "select (select count(*) from gold.trades)",
        "select count(*) from gold.trades where exists (from gold.ohlcv_1m where volume > 0)",
        "select count(distinct t.trade_id) from gold.trades t join gold.ohlcv_1d using (symbol)",
        "select count(*) from gold.trades, unnest([1])",
        "values (13)",
    ],
)
def test_a_select_in_any_form_reads_the_rows(filled: TradeLake, sql: str) -> None:
    assert value(filled.lake, sql) == len(TRADES)


@pytest.mark.parametrize(
    "sql",
    [
        "describe gold.trades",
        "summarize gold.trades",
        "show all tables",
        "explain select * from gold.trades",
        "explain analyze select count(*) from gold.trades",
        "/* why */ explain (format json) select 1",
        "pivot gold.trades on side in ('buy', 'sell') using count(*)",
        "select table_name from information_schema.tables",
    ],
)
def test_what_describes_is_allowed(filled: TradeLake, sql: str) -> None:
    assert rows(filled.lake, sql)


def test_decimals_and_instants_come_exactly(filled: TradeLake) -> None:
    (row,) = rows(
        filled.lake,
        "select price, price::decimal(28,8) * quantity q, timestamp, trade_conditions, vendor_data"
        " from gold.trades where trade_id = '99'",
    )
    assert (row["price"], row["q"]) == (Decimal("1E-8"), Decimal("1E-16"))
    assert row["timestamp"].isoformat() == "2024-08-09T01:00:00+00:00"
    assert (row["trade_conditions"], row["vendor_data"]) == (["A"], [("k", "v")])


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("insert into gold.trades select * from gold.trades", "INSERT"),
        ("update gold.trades set price = 1", "UPDATE"),
        ("delete from gold.trades", "DELETE"),
        ("truncate gold.trades", "TRUNCATE"),
        ("drop view gold.trades", "DROP"),
        ("create table t (a int)", "CREATE"),
        ("create or replace view gold.trades as select 1", "CREATE"),
        ("alter table gold.trades add column a int", "ALTER"),
        ("merge into gold.trades using gold.trades t on true when matched then delete", "MERGE"),
        ("copy gold.trades to '{out}'", "COPY"),
        ("copy (select 1) to '{out}' (format csv)", "COPY"),
        ("export database '{out}'", "EXPORT"),
        ("import database '{out}'", "IMPORT"),
        ("attach '{out}' as x", "ATTACH"),
        ("detach memory", "DETACH"),
        ("install httpfs", "INSTALL"),
        ("load httpfs", "LOAD"),
        ("pragma database_list", "PRAGMA"),
        ("call pragma_version()", "CALL"),
        ("set memory_limit = '100GB'", "SET"),
        ("reset memory_limit", "RESET"),
        ("use gold", "USE"),
        ("begin", "BEGIN"),
        ("checkpoint", "CHECKPOINT"),
        ("vacuum", "VACUUM"),
        ("prepare p as select 1", "PREPARE"),
        ("create secret (type s3)", "CREATE"),
        ("pivot gold.trades on side", "PIVOT"),
        ("explain analyze copy (select 1) to '{out}'", "COPY"),
        ("explain select 1; drop view gold.trades", "2 statements"),
        ("explain create table t (a int)", "CREATE"),
        ("select 1; select 2", "2 statements"),
        ("select 1; drop view gold.trades", "2 statements"),
        ("with x as (insert into gold.trades select * from gold.trades returning 1) from x", "INS"),
        ("with x as (delete from gold.trades returning 1) from x", "DELETE"),
        ("select * from read_csv('/etc/passwd')", "read_csv"),
        ("select * from read_text('/etc/passwd')", "read_text"),
        ("select * from read_blob('/etc/*')", "read_blob"),
        ("select * from read_json('http://127.0.0.1:1/x')", "read_json"),
        ("select * from read_parquet('{out}')", "read_parquet"),
        ("select * from glob('/*')", "glob"),
        ("select * from sniff_csv('/etc/passwd')", "sniff_csv"),
        ("select * from query('select 1')", "query"),
        ("select * from query_table('gold.trades')", "query_table"),
        ("select * from duckdb_secrets()", "duckdb_secrets"),
        ("select * from duckdb_settings()", "duckdb_settings"),
        ("select * from arrow_scan(1::pointer, 1::pointer, 1::pointer)", "arrow_scan"),
        ("from json_execute_serialized_sql(json_serialize_sql('select 1'))", "json_execute"),
        ("select (select content from read_text('/etc/passwd'))", "read_text"),
        ("select 1 where exists (from gold.trades, lateral (from read_text(side)))", "read_text"),
        ("explain select * from glob('/*')", "glob"),
        ("describe select * from read_csv('/etc/passwd')", "read_csv"),
        ("select * from '/etc/passwd.csv'", "/etc/passwd.csv"),
        ("select * from 'http://127.0.0.1:1/x.parquet'", "http"),
        ("select * from '{out}.parquet'", ".parquet"),
    ],
)
def test_what_writes_or_reaches_outside_is_refused_by_name(
    filled: TradeLake, tmp_path: Path, sql: str, word: str
) -> None:
    out = tmp_path / "out"
    assert word in refused(filled.lake, sql.replace("{out}", str(out)))
    assert not out.exists()


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("selec 1", 'syntax error at or near "selec"'),
        ("select nope from gold.trades", 'column "nope" not found'),
        ("select * from gold.nope", "nope does not exist"),
        ("select getenv('HOME')", "getenv does not exist"),
        ("select 'a'::int", "Could not convert"),
        ("select error('at row ' || trade_id) from gold.trades", "at row"),
        ("select '101'::bit", "cast it"),
        ("", "no statement"),
        (" ; -- nothing", "no statement"),
        ("select * from gold.trades where price = $1", "parameter"),
    ],
)
def test_sql_that_cannot_run_is_one_line_with_the_reason(
    filled: TradeLake, sql: str, says: str
) -> None:
    with (
        pytest.raises(UsageError) as caught,
        read_sql(filled.lake, sql) as result,
    ):
        list(result.batches)
    assert says.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_variables_of_the_program_are_no_tables(filled: TradeLake) -> None:
    secret = [1]
    assert secret
    with pytest.raises(UsageError, match="secret does not exist"):
        rows(filled.lake, "select * from secret")


def test_a_statement_that_takes_too_long_is_stopped(filled: TradeLake) -> None:
    began = time.monotonic()
    slow = "select count(*) from range(1000000000) a, range(100000) b where a.range + b.range = 7"
    with (
        pytest.raises(UsageError, match=r"more than 0\.2 s"),
        read_sql(filled.lake, slow, timeout_s=0.2) as result,
    ):
        list(result.batches)
    assert time.monotonic() - began < 30


@pytest.mark.local_storage
def test_a_missing_home_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    home = tmp_path / "none"
    with pytest.raises(UsageError, match="there is no lake"):
        existing_lake(LakeSettings.from_environment({}, home))
    assert not home.exists()


@pytest.mark.local_storage
def test_a_catalog_that_is_no_database_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("not a database, but long enough to be looked at" * 40)
    with pytest.raises(LakeUnavailable, match="catalog cannot be opened"):
        rows(existing_lake(LakeSettings.from_environment({}, tmp_path)), "from gold.trades")


@pytest.mark.local_storage
def test_reading_makes_no_table_and_no_file(tmp_path: Path) -> None:
    _ = TradeLake(tmp_path).lake.catalog
    lake = existing_lake(LakeSettings.from_environment({}, tmp_path))
    assert value(lake, "select count(*) from gold.trades") == 0
    assert lake.catalog.list_tables("gold") == []
    assert {p.name.split("-")[0] for p in tmp_path.iterdir()} == {"catalog.db"}


@pytest.mark.any_storage
def test_reading_goes_on_beside_a_writer(tmp_path: Path) -> None:
    writer = TradeLake(tmp_path)
    writer.add(many(5))
    reader = existing_lake(LakeSettings.from_environment({}, tmp_path))
    with read_sql(reader, "select trade_id from gold.trades") as result:
        writer.add(many(5, first=50))
        assert sum(b.num_rows for b in result.batches) == 5
    assert value(reader, "select count(*) from gold.trades") == 10


@pytest.mark.s3
def test_a_warehouse_in_a_store_is_read_the_same_way(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_server.new_bucket()
    environment = {**s3_server.environment, "K2_WAREHOUSE": f"s3://{bucket}/lake"}
    lake = TradeLake(tmp_path)
    lake.settings = LakeSettings.from_environment(environment, tmp_path)
    lake.lake = Lake(lake.settings)
    lake.engine = lake.engine.__class__(io=lake.lake.table("gold.trades").io)  # type: ignore[arg-type]
    lake.add(TRADES)
    sql = "select count(*) n, sum(quantity) q from gold.trades join gold.ohlcv_1d using (symbol)"
    (row,) = rows(existing_lake(lake.settings), sql)
    assert row["n"] == 2 * len(TRADES)
    assert "S3" in refused_or_error(lambda: rows(lake.lake, f"from 's3://{bucket}/x.parquet'"))


def refused_or_error(ask: Callable[[], object]) -> str:
    with pytest.raises((QueryRefused, UsageError)) as caught:
        ask()
    return str(caught.value).upper()
