"""A lake goes on with records that have gained columns, and is left alone by any other change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from k2_assets.checks import conforms
from k2_lake.commit import commit
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.evolution import change, migrated, require_readable
from k2_lake.history import Mode, lineage
from k2_lake.maintenance.compaction import compact
from k2_lake.read_sql import existing_table, read_sql
from k2_lake.scan import planned
from k2_lake.scope import Scope
from k2_lake.tables import (
    MAINTENANCE_TABLE,
    REJECTED_TABLE,
    TRADES_TABLE,
    TableDef,
    table_def,
)
from k2_market.avro import published_record, unreadable
from k2_market.errors import FileBroken, SchemaMismatch
from k2_market.kind_rules import RULES
from k2_market.kinds import Kind
from k2_market.records import INSTANT, PRICE, TRADE, Record, field
from tests.k2_lake import versions
from tests.k2_lake.versions import EXCHANGE
from tests.keyed import keyed
from tests.lakes import LakeDriver, open_lake
from tests.storage import environment


def of_another_time(when: str, home: Path) -> dict[str, Any]:
    """What K2 with the records of another time does to the lake."""
    command = [sys.executable, "-m", "tests.k2_lake.versions", when, str(home)]
    told = {**os.environ, **environment(home)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=told)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout or "{}")
    return found


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that an earlier version wrote. Tests may add to it, in the order of this file."""
    home = tmp_path_factory.mktemp("earlier")
    of_another_time("earlier", home)
    return home


def api_trades(home: Path) -> list[dict[str, Any]]:
    with keyed(open_lake(home).settings) as client:
        rows: list[dict[str, Any]] = client.get("/v1/trades?start=2024-08-08").json()["data"]
    return rows


def sql(home: Path, statement: str) -> list[dict[str, Any]]:
    with read_sql(open_lake(home), statement) as result:
        return [row for batch in result.batches for row in batch.to_pylist()]


def test_readers_read_an_older_lake_and_leave_it_as_it_is(earlier: Path) -> None:
    table = existing_table(open_lake(earlier), TRADES_TABLE)
    assert table is not None
    assert "event_time" not in table.schema().column_names
    assert [(t["trade_id"], t["event_time"]) for t in api_trades(earlier)] == [
        (str(n), None) for n in range(1, 9)
    ]
    found = sql(earlier, "select * from gold.trades order by source_sequence limit 1")
    assert list(found[0]) == TRADE.columns
    assert found[0]["event_time"] is None
    after = existing_table(open_lake(earlier), TRADES_TABLE)
    assert after is not None
    assert after.metadata_location == table.metadata_location


def test_a_lake_of_an_earlier_version_goes_on_with_todays_records(
    earlier: Path, tmp_path: Path
) -> None:
    driver, fresh = LakeDriver(earlier), LakeDriver(tmp_path)
    old = existing_table(driver.lake, TRADES_TABLE)
    assert old is not None
    driver.receive(versions.then(), EXCHANGE)
    driver.tick([EXCHANGE])
    for prints in (versions.first(), versions.then()):
        fresh.receive(prints, EXCHANGE)
        fresh.tick([EXCHANGE])
    expected = fresh.everything()
    for name in ("silver.binance_trades", TRADES_TABLE):
        for row in expected[name]:
            row["event_time"] = row["event_time"] if int(str(row["trade_id"])) > 8 else None
    assert driver.everything() == expected
    table = driver.lake.table(TRADES_TABLE)
    assert [f.name for f in table.schema().fields] == TRADE.columns
    then = planned(table, TRADE.schema, snapshot_id=lineage(old)[0].snapshot_id)
    rows = driver.engine.query("select * from rows", {"rows": then}, TRADE.schema)
    assert rows.num_rows == 8
    assert rows["event_time"].null_count == 8


def test_every_reader_and_check_takes_old_and_new_files_together(earlier: Path) -> None:
    driver = LakeDriver(earlier)
    for day in (date(2024, 8, 8), date(2024, 8, 9)):
        scope = Scope(TRADES_TABLE, day, None)
        assert conforms(RULES[Kind.TRADES].schema, driver.lake, driver.engine, scope).agrees
    known = [t["event_time"] is not None for t in api_trades(earlier)]
    assert known == [False] * 6 + [True] + [False] * 2 + [True]
    statement = "select count(event_time) as known, count(*) as n from gold.trades"
    assert sql(earlier, statement) == [{"known": 2, "n": 10}]


def test_compaction_puts_old_and_new_files_together(earlier: Path) -> None:
    driver = LakeDriver(earlier)
    before = driver.everything()
    quiet = timedelta(0)
    [done] = compact(driver.lake, driver.engine, TRADES_TABLE, quiet=quiet, worth_it=2)
    assert (done.day, done.before.files - done.after.files) == (date(2024, 8, 8), 1)
    assert driver.everything() == before | {MAINTENANCE_TABLE: driver.rows(MAINTENANCE_TABLE)}
    files = planned(driver.lake.table(TRADES_TABLE), TRADE.schema)
    assert files.lacking == {}


def test_a_day_computed_anew_has_the_column_filled_from_the_frames(earlier: Path) -> None:
    driver = LakeDriver(earlier)
    before = driver.rows("gold.ohlcv_1m")
    driver.recompute([date(2024, 8, 8), date(2024, 8, 9)], [EXCHANGE])
    assert all(row["event_time"] is not None for row in driver.rows(TRADES_TABLE))
    assert driver.rows("gold.ohlcv_1m") == before


def test_a_column_added_to_every_record_is_all_that_a_later_version_needs(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(versions.first(), EXCHANGE)
    driver.tick([EXCHANGE])
    today = driver.everything()
    found = of_another_time("later", tmp_path)
    assert found["rows"][TRADES_TABLE] == found["rows"]["bronze.binance_trades"] == 10
    assert found["same when computed anew"]
    assert found["verdicts"] == [True, True]
    assert found["tables"] == {
        TRADES_TABLE: 0, "gold.ohlcv_1d": 5, "silver.rejected": 2, "gold.gaps": 4
    }  # fmt: skip
    assert found["trade"]["note"] is None
    assert found["model"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert found["avro"]["default"] is None
    # And this version refuses to write what it does not know, but reads it without.
    with pytest.raises(SchemaMismatch, match=r"gold\.trades .*column note \(string\) is stored"):
        driver.lake.table(TRADES_TABLE)
    assert len(api_trades(tmp_path)) == 10
    assert list(sql(tmp_path, f"select * from {TRADES_TABLE} limit 1")[0]) == TRADE.columns
    assert len(today[TRADES_TABLE]) == 8


@pytest.mark.any_storage
def test_many_may_open_an_older_lake_at_once(tmp_path: Path) -> None:
    _, wanted = with_columns(tmp_path, [("note", 2)])

    def opened(_: int) -> list[str]:
        table = open_lake(tmp_path).catalog.load_table(REJECTED_TABLE)
        return [f.name for f in migrated(table, wanted).schema().fields]

    with ThreadPoolExecutor(4) as pool:
        assert set(map(tuple, pool.map(opened, range(6)))) == {tuple(wanted.record.columns)}
    table = open_lake(tmp_path).catalog.load_table(REJECTED_TABLE)
    assert len(table.metadata.schemas) == 2


@pytest.mark.any_storage
def test_a_column_is_null_in_the_files_from_before_it(tmp_path: Path) -> None:
    table, wanted = with_columns(tmp_path, [("note", 2)])
    write(table, table_def(REJECTED_TABLE).record, 1)
    rows_of(table, wanted.record)  # an older table may be read
    migrated(table, wanted)
    write(table, wanted.record, 2)
    notes = [(row["frame_index"], row["note"]) for row in rows_of(table, wanted.record)]
    assert notes == [(1, None), (2, "x")]


@pytest.mark.local_storage
def test_a_file_that_lacks_a_column_it_was_written_with_is_an_error(tmp_path: Path) -> None:
    table, wanted = with_columns(tmp_path, [("note", 2)])
    write(table, table_def(REJECTED_TABLE).record, 1)
    migrated(table, wanted)
    write(table, wanted.record, 2)
    files = planned(table, wanted.schema)
    new = next(f.file_path for f in files.files if f.file_path not in files.lacking)
    path = Path(new.removeprefix("file://"))
    pa.parquet.write_table(pa.parquet.read_table(path).drop_columns("note"), path)
    with pytest.raises(FileBroken, match=r"silver\.rejected: the data file .* is damaged"):
        DuckDBEngine().query("select * from rows", {"rows": files}, wanted.schema)


def test_a_changed_description_is_no_change_of_the_table(tmp_path: Path) -> None:
    table, _ = with_columns(tmp_path, [])
    record = table_def(REJECTED_TABLE).record
    told = [pa.field(f.name, f.type, f.nullable, {"doc": "Other words."}) for f in record.schema]
    wanted = TableDef(REJECTED_TABLE, replace(record, schema=pa.schema(told)), "")
    assert not change(table, wanted).is_needed
    assert migrated(table, wanted).metadata.schemas == table.metadata.schemas


TYPES = st.sampled_from(
    [
        *(pa.string(), pa.int64(), pa.date32(), pa.bool_(), INSTANT, PRICE, pa.binary()),
        pa.list_(pa.field("element", pa.string(), nullable=False)),
        pa.map_(pa.string(), pa.int64()),
    ]
)
ADDITIONS = st.lists(st.tuples(TYPES, st.integers(0, 9)), min_size=1, max_size=4)


@settings(max_examples=12, deadline=None)
@given(first=ADDITIONS, then=ADDITIONS)
def test_any_nullable_columns_at_any_place_are_added(
    home: Path, first: list[tuple[pa.DataType, int]], then: list[tuple[pa.DataType, int]]
) -> None:
    table, _ = with_columns(home, [])
    record = table_def(REJECTED_TABLE).record
    write(table, record, 1)
    for step, additions in enumerate((first, then), start=2):
        old = record
        for number, (kind, place) in enumerate(additions):
            added = field(f"new_{step}_{number}", kind, "New.", nullable=True)
            record = replace(record, schema=record.schema.insert(place, added))
        wanted = TableDef(REJECTED_TABLE, record, "")
        migrated(table, wanted)
        assert unreadable(published_record(record), published_record(old)) == []
        write(table, record, step)
    assert [f.name for f in table.schema().fields] == record.columns
    rows = rows_of(table, record)
    assert [row["frame_index"] for row in rows] == [1, 2, 3]
    for row in rows:
        named = {n: n.startswith("new_") and int(n[4]) > row["frame_index"] for n in row}
        assert {n for n, v in row.items() if v is None} == {
            n for n, later in named.items() if later
        }


def _without(record: Record, column: str) -> Record:
    kept = [f for f in record.schema if f.name != column]
    return replace(record, schema=pa.schema(kept))


def _changed(record: Record, column: str, **how: Any) -> Record:
    fields = [
        pa.field(**{"name": f.name, "type": f.type, "nullable": f.nullable} | how)
        if f.name == column
        else f
        for f in record.schema
    ]
    return replace(record, schema=pa.schema(fields))


REQUIRED = field("venue", pa.string(), "New.")
INCOMPATIBLE: dict[str, tuple[Callable[[Record], Record], str]] = {
    "removed": (lambda r: _without(r, "vendor_data"), r"vendor_data \(map<string, string or null>"),
    "renamed": (lambda r: _changed(r, "price", name="px"), "price .* removed or renamed"),
    "retyped": (lambda r: _changed(r, "side", type=pa.int64()), "side is stored as string, .*long"),
    "narrowed": (
        lambda r: _changed(r, "price", type=pa.decimal128(12, 4)),
        r"price is stored as decimal\(18, 8\), and Trade says decimal\(12, 4\)",
    ),
    "widened": (
        lambda r: _changed(r, "epoch", type=pa.int64()),
        "epoch is stored as int, and Trade says long",
    ),
    "of other elements": (
        lambda r: _changed(r, "trade_conditions", type=pa.list_(pa.string())),
        "trade_conditions is stored as list<string>, and Trade says list<string or null>",
    ),
    "required": (lambda r: _changed(r, "event_time", nullable=False), "event_time may be null"),
    "required and new": (
        lambda r: replace(r, schema=r.schema.append(REQUIRED)),
        r"Trade requires the column venue \(string\)",
    ),
    "nullable in the key": (
        lambda r: _changed(r, "trade_id", nullable=True),
        "trade_id tells rows or partitions apart",
    ),
    "of another key": (
        lambda r: replace(r, key=("exchange", "trade_id")),
        "told apart by exchange, symbol, trade_id, and now are to be by exchange, trade_id",
    ),
    "of another day": (
        lambda r: replace(r, day="ingest_date"),
        "partitioned by trade_date, exchange, and now are to be by ingest_date, exchange",
    ),
}


@pytest.mark.parametrize("edit", INCOMPATIBLE)
@settings(max_examples=3, deadline=None)
@given(additions=ADDITIONS)
def test_any_other_edit_is_refused_with_the_reason_and_nothing_is_written(
    home: Path, edit: str, additions: list[tuple[pa.DataType, int]]
) -> None:
    table = open_lake(home).table(TRADES_TABLE)
    how, reason = INCOMPATIBLE[edit]
    record = how(TRADE)
    for number, (kind, place) in enumerate(additions):
        added = field(f"new_{number}", kind, "New.", nullable=True)
        record = replace(record, schema=record.schema.insert(place, added))
    wanted = TableDef(TRADES_TABLE, record, "")
    with pytest.raises(SchemaMismatch, match=rf"gold\.trades .*{reason}.*Nothing was written"):
        migrated(table, wanted)
    assert open_lake(home).table(TRADES_TABLE).metadata_location == table.metadata_location


def test_what_readers_cannot_make_sense_of_is_refused_to_them_too(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    table = lake.table(TRADES_TABLE)
    record = _changed(TRADE, "price", type=pa.decimal128(12, 4))
    with pytest.raises(SchemaMismatch, match=r"price is stored as decimal\(18, 8\)"):
        require_readable(table, TableDef(TRADES_TABLE, record, ""))
    require_readable(table, TableDef(TRADES_TABLE, _without(TRADE, "vendor_data"), ""))


def test_a_column_may_become_nullable_and_columns_may_change_places(tmp_path: Path) -> None:
    table, _ = with_columns(tmp_path, [])
    record = table_def(REJECTED_TABLE).record
    write(table, record, 1)
    fields = list(_changed(record, "detail", nullable=True).schema)
    eased = replace(record, schema=pa.schema(fields[::-1]))
    migrated(table, TableDef(REJECTED_TABLE, eased, ""))
    write(table, eased, 2, detail=None)
    assert [(r["frame_index"], r["detail"]) for r in rows_of(table, eased)] == [(1, "x"), (2, None)]
    assert [f.name for f in table.schema().fields] == record.columns[::-1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def with_columns(home: Path, new: list[tuple[str, int]]) -> tuple[Table, TableDef]:
    """An empty table, and what it is to be with new columns of text at these places."""
    lake, definition = open_lake(home), table_def(REJECTED_TABLE)
    if lake.catalog.table_exists(REJECTED_TABLE):
        lake.catalog.drop_table(REJECTED_TABLE)
    record = definition.record
    for column, place in new:
        added = field(column, pa.string(), "New.", nullable=True)
        record = replace(record, schema=record.schema.insert(place, added))
    return lake.table(REJECTED_TABLE), replace(definition, record=record)


VALUES: dict[Any, Any] = {pa.string(): "x", pa.binary(): b"x", pa.bool_(): True, PRICE: 1}
VALUES |= {pa.int32(): 1, pa.int64(): 1, pa.date32(): 1, INSTANT: 1}


def write(table: Table, record: Record, number: int, **given: Any) -> None:
    """A row with something in every column; ``number`` is its frame_index."""
    row = {f.name: VALUES.get(f.type, [("x", 1)]) for f in record.schema}
    row |= {f.name: ["x"] for f in record.schema if pa.types.is_list(f.type)}
    rows = pa.Table.from_pylist([row | {"frame_index": number} | given], schema=record.schema)
    commit(table, add=[rows], mode=Mode.APPEND, days=[])


def rows_of(table: Table, record: Record) -> list[dict[str, Any]]:
    files = planned(table, record.schema)
    found = DuckDBEngine(io=cast("PyArrowFileIO", table.io)).query(
        "select * from rows order by frame_index", {"rows": files}, record.schema
    )
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows
