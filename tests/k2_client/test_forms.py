"""All forms of an answer of the real API are the same rows."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_client import K2, Query, Trade
from k2_market.records import TRADE

START, END = date(2024, 8, 8), date(2024, 8, 10)


@pytest.fixture(scope="module")
def trades(k2: K2) -> Query[Trade]:
    return k2.trades(start=START, end=END)


def as_dicts(table: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    return found


def test_a_table_holds_the_rows_of_the_pages(trades: Query[Trade]) -> None:
    table = trades.to_arrow()
    assert table.schema.equals(TRADE.schema)
    assert as_dicts(table) == [msgspec.structs.asdict(t) for t in trades]
    assert pa.Table.from_batches(list(trades.batches())).equals(table)


def test_frames_hold_the_same(trades: Query[Trade]) -> None:
    frame, table = trades.to_polars(), trades.to_arrow()
    assert frame["price"].to_list() == table["price"].to_pylist()
    assert frame["timestamp"].to_list() == table["timestamp"].to_pylist()
    pandas = trades.to_pandas()
    assert list(pandas["price"]) == table["price"].to_pylist()
    assert [at.isoformat() for at in pandas["timestamp"]] == [
        at.isoformat() for at in table["timestamp"].to_pylist()
    ]


def test_files_hold_the_same(trades: Query[Trade], tmp_path: Path) -> None:
    table = trades.to_arrow()
    assert as_dicts(pq.read_table(trades.save(tmp_path / "a.parquet"))) == as_dicts(table)
    with pa.ipc.open_stream(trades.save(tmp_path / "a.arrow").read_bytes()) as stream:
        assert stream.read_all().equals(table)
    lines = trades.save(tmp_path / "a.ndjson").read_bytes().splitlines()
    rows = [msgspec.json.decode(line, type=Trade, strict=False) for line in lines]
    assert rows == trades.to_list()
    csv = pl.read_csv(trades.save(tmp_path / "a.csv"), infer_schema=False)
    assert csv["price"].to_list() == [f"{price:f}" for price in table["price"].to_pylist()]


def test_a_choice_of_columns_the_last_rows_first(k2: K2) -> None:
    chosen = ["trade_id", "price"]
    asked = k2.trades("BTC-USDT", start=START, fields=chosen, order="desc", limit=5)
    table = asked.to_arrow()
    assert table.column_names == chosen
    assert table["trade_id"].to_pylist() == [t.trade_id for t in asked]
    assert table["trade_id"].to_pylist() == ["5000", "60", "59", "58", "57"]


def test_candles_of_any_timeframe_stream_too(k2: K2) -> None:
    asked = k2.ohlcv("BTC-USDT", "binance", "7m", START, END, fill="prev")
    frame = asked.to_polars()
    assert frame["close"].to_list() == [c.close for c in asked]
    assert frame["filled"].sum() == sum(c.filled for c in asked) > 0


def test_the_count_is_that_of_the_rows(k2: K2, trades: Query[Trade]) -> None:
    count = trades.count()
    assert count.rows == len(trades.to_list())
    assert set(count.bytes) == {"json", "csv", "parquet", "arrow"}
    assert min(count.bytes.values()) > 0
    candles = k2.ohlcv("BTC-USDT", "binance", "1h", START, END)
    assert candles.count().rows == len(candles.to_list())
