"""Exports: all rows of a question, exactly and in order, however they are cut and read."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_api.questions.parameters import RangeParameters
from k2_api.reading import export, slices
from k2_api.reading.ahead import ahead
from k2_api.reading.asked import Asked, ask
from k2_api.reading.datasets import QUOTES, TRADES, Dataset
from k2_api.reading.export import Exports, Part
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import plan
from k2_api.reading.symbols import Symbols
from k2_lake.commit import commit
from k2_lake.history import Mode
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import LakeUnavailable
from k2_market.records import TRADE
from tests.k2_api.lake_of_trades import MIDNIGHT, Made, TradeLake, many, row_of

DAY_S = 86_400


class Exporter:
    """Exports of one lake, as dictionaries and beside them the rows of the table in order."""

    def __init__(self, lake: TradeLake) -> None:
        self.lake = lake
        self.reader = LakeReader(lake.settings)
        self.exports = Exports(self.reader)

    def ask(self, dataset: Dataset = TRADES, **said: Any) -> Asked:
        return ask(self.reader, Symbols(self.reader), dataset, RangeParameters(**said))

    def rows(self, asked: Asked, limit: int | None = None) -> list[dict[str, Any]]:
        batches = list(self.exports.rows(asked, limit))
        schema = pa.schema([asked.dataset.record.schema.field(f) for f in asked.fields])
        return pa.Table.from_batches([b.cast(schema) for b in batches], schema=schema).to_pylist()

    def expected(self, asked: Asked) -> list[dict[str, Any]]:
        table = self.lake.lake.table(asked.dataset.table).scan().to_arrow().to_pylist()
        newer = [] if asked.tail is None else asked.tail.rows().to_pylist()
        ids = {(r["exchange"], r["trade_id"]) for r in table} if newer else set()
        table += [r for r in newer if (r["exchange"], r["trade_id"]) not in ids]
        rows = [r for r in table if _wanted(r, asked)]
        rows.sort(key=lambda r: [r[c] for c in asked.dataset.order], reverse=asked.descending)
        return [{f: r[f] for f in asked.fields} for r in rows]


@dataclass(frozen=True)
class Newer:
    """Stands for the tail: rows that no table has, and some that it has."""

    trades: list[Made]

    def rows(
        self,
        symbols: Collection[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        found = [
            row
            for row in map(row_of, self.trades)
            if (symbols is None or row["symbol"] in symbols)
            and (start is None or row["timestamp"] >= start)
            and (end is None or row["timestamp"] < end)
        ]
        return pa.Table.from_pylist(found, schema=TRADE.schema)


NEWER = [
    *(Made(n, DAY_S - 50 + n) for n in range(230, 260)),
    *many(4, first=9001, exchange="kraken", own="XBT/USD", symbol="BTC-USD", every_s=31.0),
    Made(9100, 3.5, own="ADAUSDT", symbol="ADA-USDT"),
]


def write(lake: TradeLake, trades: list[Made], *, backwards: bool = False) -> None:
    """A file of trades, written in their order or its reverse."""
    rows = [row_of(t) for t in sorted(trades, key=lambda t: (t.symbol, t.at, t.number))]
    made = pa.Table.from_pylist(rows[::-1] if backwards else rows, schema=TRADE.schema)
    commit(lake.lake.table(TRADES_TABLE), add=[made], mode=Mode.APPEND, days=[MIDNIGHT.date()])


def _wanted(row: dict[str, Any], asked: Asked) -> bool:
    at = row[asked.dataset.time or ""]
    return (
        (not asked.exchanges or row["exchange"] in asked.exchanges)
        and (not asked.symbols or row["symbol"] in asked.symbols)
        and (asked.start is None or at >= asked.start)
        and (asked.end is None or at < asked.end)
    )


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """Two days in files that overlap, with late trades, of four instruments large and small."""
    lake = TradeLake(tmp_path_factory.mktemp("exported"))
    write(lake, [*many(60), *many(9, first=2001, own="ETHUSDT", symbol="ETH-USDT")])
    write(lake, many(5, first=3001, own="SOLUSDT", symbol="SOL-USDT"))
    write(lake, many(30, exchange="kraken", own="XBT/USD", symbol="BTC-USD"))
    write(lake, [Made(n, n * 13.0) for n in range(100, 130)])
    write(lake, [Made(n, DAY_S - 50 + n) for n in range(200, 240)])
    write(lake, many(4, first=2101, own="ETHUSDT", symbol="ETH-USDT"))
    found = Exporter(lake)
    yield found
    found.reader.close()


@settings(max_examples=20, deadline=None)
@given(
    slice_rows=st.sampled_from([1, 7, 25, 1000]),
    alone=st.sampled_from([1, 5, 10_000]),
    dataset=st.sampled_from([TRADES, TRADES, TRADES, QUOTES]),
    order=st.sampled_from(["asc", "desc"]),
    exchange=st.sampled_from([None, "kraken", "binance", "kraken,binance"]),
    start=st.sampled_from(["2024-08-08", "2024-08-08T00:04:00Z", "2024-08-08T23:59:59.5Z"]),
    end=st.sampled_from([None, "2024-08-08T00:20:00.000001Z", "2024-08-09", "2024-08-11"]),
    tail=st.sampled_from([None, Newer(NEWER)]),
)
def test_an_export_is_the_table_in_order_however_it_is_cut(
    exporter: Exporter,
    slice_rows: int,
    alone: int,
    dataset: Dataset,
    order: str,
    exchange: str | None,
    start: str,
    end: str | None,
    tail: Newer | None,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "SLICE_ROWS", slice_rows)
        patch.setattr(slices, "WORTH_ALONE", alone)
        patch.setattr(export, "BATCH_ROWS", 10)
        end = None if end is not None and end <= start else end
        asked = exporter.ask(dataset, start=start, end=end, order=order, exchange=exchange)
        if dataset is TRADES:
            asked = replace(asked, tail=tail)  # type: ignore[arg-type]
        assert exporter.rows(asked) == exporter.expected(asked)


def lies(exporter: Exporter, asked: Asked) -> list[bool]:
    whole = Part(asked, plan(exporter.reader, asked))
    return [part.lies for part in exporter.exports._parts(whole)]


def test_one_file_whose_rows_lie_in_order_is_read_as_it_lies(exporter: Exporter) -> None:
    assert lies(exporter, exporter.ask(start="2024-08-09", symbol="BTC-USDT")) == [True]
    backwards = exporter.ask(start="2024-08-09", symbol="BTC-USDT", order="desc")
    assert lies(exporter, backwards) == [False]
    assert lies(exporter, exporter.ask(start="2024-08-08", symbol="BTC-USDT")) == [False]


def test_one_file_whose_rows_lie_in_disorder_is_sorted(tmp_path: Path) -> None:
    lake = TradeLake(tmp_path)
    write(lake, many(40), backwards=True)
    exporter = Exporter(lake)
    asked = exporter.ask(start="2024-08-08")
    assert lies(exporter, asked) == [False]
    assert exporter.rows(asked) == exporter.expected(asked)


def test_fields_and_a_limit_narrow_an_export(exporter: Exporter) -> None:
    asked = exporter.ask(start="2024-08-08", fields="price,trade_id")
    whole = exporter.expected(asked)
    assert list(whole[0]) == ["price", "trade_id"]
    for limit in (1, 60, 61, 10_000):
        assert exporter.rows(asked, limit) == whole[:limit]


def test_an_export_is_of_one_snapshot_while_the_table_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_ROWS", 5)
    monkeypatch.setattr(export, "BATCH_ROWS", 5)
    lake = TradeLake(tmp_path)
    write(lake, many(60))
    exporter = Exporter(lake)
    asked = exporter.ask(start="2024-08-08")
    expected = exporter.expected(asked)
    batches = exporter.exports.rows(asked)
    first = next(batches)
    write(lake, [Made(n, n * 13.0) for n in range(100, 130)])
    rest = list(batches)
    assert [i for b in (first, *rest) for i in b["trade_id"].to_pylist()] == [
        r["trade_id"] for r in expected
    ]


def test_a_file_that_vanishes_underway_is_an_error_and_not_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_ROWS", 5)
    lake = TradeLake(tmp_path)
    for n in range(8):
        write(lake, [Made(n * 10 + i, n * 100.0 + i) for i in range(10)])
    exporter = Exporter(lake)
    batches = exporter.exports.rows(exporter.ask(start="2024-08-08"))
    assert next(batches).num_rows
    for file in (tmp_path / "warehouse").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(LakeUnavailable, match="cannot be read"):
        list(batches)


def working() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("ahead")]


def test_one_who_goes_away_leaves_no_thread_and_no_query(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_ROWS", 3)
    batches = exporter.exports.rows(exporter.ask(start="2024-08-08"))
    next(batches)
    assert working()
    batches.close()
    assert not working()
    views = "select count(*) from duckdb_views() where not internal"
    assert exporter.reader._database.execute(views).fetchone() == (0,)


def test_what_is_made_ahead_is_bounded_and_stops_with_its_taker() -> None:
    made, closed = [], threading.Event()

    def numbers() -> Iterator[int]:
        try:
            for n in range(1_000):
                made.append(n)
                yield n
        finally:
            closed.set()

    taken = ahead(numbers(), most=2)  # type: ignore[arg-type]
    assert next(taken) == 0
    taken.close()
    assert closed.is_set()
    assert len(made) <= 5


def test_an_error_of_what_is_made_ahead_comes_in_its_place() -> None:
    def two_and_an_error() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("gone")

    taken = ahead(two_and_an_error())  # type: ignore[arg-type]
    assert [next(taken), next(taken)] == [1, 2]
    with pytest.raises(OSError, match="gone"):
        next(taken)
