"""Files that Spark's workers write are those that one machine would write."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_lake.commit import commit, written_files
from k2_lake.history import Mode
from k2_lake.outcome import Outputs
from k2_lake.scan import planned
from k2_lake.spark.reading import data_frame
from k2_lake.spark.session import spark_session
from k2_lake.spark.settings import SparkSettings
from k2_lake.spark.written import Target, write_batches, written_by_workers
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import CommitConflict
from k2_market.records import TRADE
from tests.frames import DAY0, Print, bronze_rows, prints_table
from tests.lakes import open_lake, parser

ORDER = (*TRADE.order, "trade_id")
DAY = DAY0.date()


def trades() -> pa.Table:
    """Two days of two exchanges, in no order; some with conditions, some without."""
    prints = [
        Print(
            i,
            i * 1_000,
            f"{i}.00000001",
            "0.5",
            symbol="ETHUSDT" if i % 3 else "BTCUSDT",
            execution="INSURANCE_FUND" if i % 4 == 0 else "MARKET",
        )
        for i in (7, 3, 9, 1, 8, 2, 6, 4, 5)
    ]
    one = parser()(bronze_rows(prints_table(prints))).rows
    parts = [
        _with(_with(one, "exchange", exchange), "trade_date", DAY + timedelta(days=n))
        for exchange in ("kraken", "binance")
        for n in (1, 0)
    ]
    return pa.concat_tables(parts)


def _with(rows: pa.Table, name: str, value: object) -> pa.Table:
    of = rows.schema.field(name)
    return rows.set_column(
        rows.schema.get_field_index(name), of, pa.array([value] * rows.num_rows, of.type)
    )


def in_order(rows: pa.Table) -> pa.Table:
    by = ("trade_date", "exchange", *ORDER)
    return rows.sort_by([(name, "ascending") for name in by])


def test_a_file_is_the_same_after_its_way_to_the_driver(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(TRADES_TABLE)
    target = pickle.loads(pickle.dumps(Target.of(table, {"s3.secret-access-key": "hush"})))
    assert "hush" not in repr(target)
    files = written_files(table, trades())
    assert len(files) == 4
    for file in files:
        again = target.unpacked(target.packed(file))
        assert [_plain(v) for v in again._data] == [_plain(v) for v in file._data]
        assert again.spec_id == table.spec().spec_id
        assert type(again.file_format) is type(file.file_format)
    assert pickle.loads(pickle.dumps(target)) == target


def _plain(value: object) -> object:
    return dict(value) if hasattr(value, "keys") else value


def test_a_long_range_becomes_several_files_in_its_order(tmp_path: Path) -> None:
    table = open_lake(tmp_path).table(TRADES_TABLE)
    target = Target.of(table, {})
    rows = in_order(trades()).slice(0, 9)
    batches = rows.combine_chunks().to_batches(max_chunksize=2)
    packed = [b for batch in write_batches(batches, target, 4) for b in batch["file"].to_pylist()]
    files = [target.unpacked(content) for content in packed]
    assert [f.record_count for f in files] == [4, 4, 1]
    found = [pq.ParquetFile(f.file_path.removeprefix("file://")).read() for f in files]
    ids = [i for part in found for i in part["trade_id"].to_pylist()]
    assert ids == rows["trade_id"].to_pylist()
    assert list(write_batches([], target)) == []


def test_a_conflict_removes_what_workers_wrote(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    stale, other = lake.table(TRADES_TABLE), lake.table(TRADES_TABLE)
    files, outputs = written_files(stale, trades()), Outputs(stale.io)
    outputs.adopt(files)
    commit(other, add=[trades()], mode=Mode.APPEND, days=[DAY])
    with pytest.raises(CommitConflict):
        commit(stale, add_files=files, outputs=outputs, mode=Mode.APPEND, days=[DAY])
    paths = [Path(f.file_path.removeprefix("file://")) for f in files]
    assert not any(path.exists() for path in paths)
    assert paths[0].parent.exists()


@pytest.mark.spark
def test_workers_write_the_rows_of_a_frame_sorted_and_parted_as_the_table_is(
    tmp_path: Path, spark_settings: SparkSettings
) -> None:
    lake = open_lake(tmp_path)
    table, session = lake.table(TRADES_TABLE), spark_session(spark_settings, lake.settings)
    frame = data_frame(session, trades(), lake.io)
    target = Target.of(table, lake.settings.store)
    files = written_by_workers(frame, target, order=ORDER, rows=2_000_000)
    assert lake.table(TRADES_TABLE).current_snapshot() is None
    commit(table, add_files=files, mode=Mode.APPEND, days=[DAY])
    found = planned(lake.table(TRADES_TABLE), TRADE.schema)
    parts = [pq.ParquetFile(p.removeprefix("file://")).read() for p in found.paths]
    assert all(part.select(TRADE.columns) == in_order(part).select(TRADE.columns) for part in parts)
    assert all(len(set(part["exchange"].to_pylist())) == 1 for part in parts)
    assert in_order(pa.concat_tables(parts).cast(TRADE.schema)) == in_order(trades())
    written = {tuple(f.partition._data): f.record_count for f in found.files}
    assert set(written) == {tuple(f.partition._data) for f in written_files(table, trades())}
