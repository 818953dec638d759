"""Long answers: Arrow off the wire, files that are whole or not there."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from k2_client import K2, BadAnswer, LibraryMissing, NoAnswer
from k2_market.errors import UnknownName, UsageError
from k2_market.records import TRADE
from tests.k2_api.lake_of_trades import Made, many, row_of
from tests.k2_client.scripted import Said, asking

TRADES = pa.Table.from_pylist(
    [row_of(t) for t in (*many(40), Made(99, 7.5, vendor={"X": "MARKET"}, conditions=["A"]))],
    schema=TRADE.schema,
)


def as_stream(table: pa.Table, rows_each: int = 16) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table, max_chunksize=rows_each)
    return out.getvalue()


WHOLE = Said(200, as_stream(TRADES))
BROKEN = Said(200, WHOLE.body, cut=len(as_stream(TRADES.slice(0, 16))) + 100)


NOT_STREAMS = [b"", b"no stream at all", WHOLE.body[:9000], b"\xff" * 64]


def test_a_table_is_what_was_sent_types_and_all() -> None:
    with asking(WHOLE, attempts=3) as (k2, asked):
        assert k2.trades("BTC-USDT", start="2024-08-08").to_arrow() == TRADES
        assert asked.lines == ["GET /v1/trades?symbol=BTC-USDT&start=2024-08-08&format=arrow"]


def test_no_rows_are_a_table_with_columns() -> None:
    with asking(Said(200, as_stream(TRADES.slice(0, 0))), attempts=3) as (k2, _):
        assert k2.trades(start="2024-08-08").to_arrow() == TRADES.slice(0, 0)
        assert list(k2.trades(start="2024-08-08").to_polars().columns) == TRADE.columns


def test_a_polars_frame_keeps_decimals_and_zones() -> None:
    with asking(WHOLE, attempts=3) as (k2, _):
        frame = k2.trades(start="2024-08-08").to_polars()
    assert frame.schema["price"] == pl.Decimal(18, 8)
    assert frame.schema["timestamp"] == pl.Datetime("us", "UTC")
    last = frame.row(-1, named=True)
    assert last["price"] == Decimal("61234.50000000")
    assert last["timestamp"] == datetime(2024, 8, 8, 0, 0, 7, 500_000, UTC)
    assert last["trade_conditions"] == ["A"]


def test_batches_come_one_by_one() -> None:
    with asking(WHOLE, attempts=3) as (k2, _):
        batches = list(k2.trades(start="2024-08-08").batches())
    assert [b.num_rows for b in batches] == [16, 16, 9]
    assert pa.Table.from_batches(batches) == TRADES


@pytest.mark.parametrize(("limit", "told"), [(20, "limit=20&"), (20_000, "")])
def test_a_limit_is_kept_even_where_the_api_cannot_be_told(limit: int, told: str) -> None:
    with asking(WHOLE, attempts=3) as (k2, asked):
        assert k2.trades(start="2024-08-08", limit=limit).to_arrow() == TRADES.slice(0, limit)
        assert ("limit=" in asked.lines[0]) is bool(told)


def test_a_table_that_breaks_off_is_asked_for_again_whole() -> None:
    with asking(BROKEN, WHOLE, attempts=3) as (k2, asked):
        assert k2.trades(start="2024-08-08").to_arrow() == TRADES
        assert len(asked.lines) == 2


def test_batches_that_break_off_say_so_and_are_not_repeated() -> None:
    with asking(BROKEN, WHOLE, attempts=3) as (k2, asked):
        batches = k2.trades(start="2024-08-08").batches()
        assert next(batches).num_rows == 16
        with pytest.raises(NoAnswer, match="not answered to its end"):
            next(batches)
        assert len(asked.lines) == 1


@pytest.mark.parametrize("body", NOT_STREAMS, ids=len)
def test_what_is_no_arrow_stream_is_said_to_be_none(body: bytes) -> None:
    with (
        asking(Said(200, body), attempts=3) as (k2, _),
        pytest.raises(BadAnswer, match="Arrow stream"),
    ):
        k2.trades(start="2024-08-08").to_arrow()


def test_without_pandas_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    unasked = K2("http://127.0.0.1:9").trades(start="2024-08-08")
    with pytest.raises(LibraryMissing, match=r"pip install 'k2-market-data\[pandas\]'"):
        unasked.to_pandas()


def test_with_pandas_instants_keep_their_zone_and_decimals_stay_exact() -> None:
    with asking(WHOLE, attempts=3) as (k2, _):
        last = k2.trades(start="2024-08-08").to_pandas().iloc[-1]
    assert last["price"] == Decimal("61234.50000000")
    assert last["timestamp"].isoformat() == "2024-08-08T00:00:07.500000+00:00"
    assert last["vendor_data"] == {"X": "MARKET"}


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.parquet", "parquet"), ("a.CSV", "csv"), ("a.jsonl", "ndjson"), ("a.arrows", "arrow")],
)
def test_a_file_tells_its_format_by_its_name(tmp_path: Path, name: str, form: str) -> None:
    seen: list[int] = []
    with asking(Said(200, b"bytes as they came"), attempts=3) as (k2, asked):
        file = k2.trades(start="2024-08-08").save(tmp_path / name, seen=seen.append)
        assert asked.lines[0].endswith(f"format={form}")
    assert (file.read_bytes(), sum(seen)) == (b"bytes as they came", 18)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_breaks_off_is_not_there_and_the_one_before_stays(tmp_path: Path) -> None:
    file = tmp_path / "trades.arrow"
    file.write_bytes(b"before")
    with asking(BROKEN, attempts=3) as (k2, _), pytest.raises(NoAnswer):
        k2.trades(start="2024-08-08").save(file)
    unasked = K2("http://127.0.0.1:9").trades(start="2024-08-08")
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        unasked.save(tmp_path / "no" / "trades.arrow")
    assert [(f, f.read_bytes()) for f in tmp_path.iterdir()] == [(file, b"before")]


def test_a_name_that_tells_no_format_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    unasked = K2("http://127.0.0.1:9").trades(start="2024-08-08")
    with pytest.raises(UsageError, match=r"'trades.txt' does not tell a format.*\.parquet"):
        unasked.save(tmp_path / "trades.txt")
    with pytest.raises(UnknownName, match="unknown format 'xlsx'"):
        unasked.save(tmp_path / "trades", "xlsx")
