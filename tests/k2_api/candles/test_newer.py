"""Candles that took the place of stored ones, in every way of asking."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from k2_api.questions.candles import CandleParameters
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.current import Newer
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Symbols
from k2_api.tail.freshness import OFF, Freshness
from k2_lake.scan import planned
from k2_lake.tables import candle_name
from k2_market.errors import UnknownName
from k2_market.records import CANDLE
from tests.k2_api.candles.traded import TRADES
from tests.k2_api.lake_of_trades import TradeLake

HELD_BACK = [t for n, t in enumerate(TRADES) if n % 7 == 0 or n > len(TRADES) - 20]
ASKED: list[tuple[str, dict[str, Any]]] = [
    (name, {"symbol": "BTC-USDT", "exchange": "binance", **more})
    for name in ("1m", "7m")
    for more in (
        {"limit": 30},
        {"limit": 30, "order": "desc"},
        {"start": "2024-03-30", "fill": "prev", "limit": 300},
        {"start": "2024-03-30", "end": "2024-04-01T10:31:00Z", "limit": 1000},
        {"start": "2024-03-30", "end": "2024-04-01T10:31:00Z", "limit": 9, "order": "desc"},
    )
]


@dataclass(frozen=True)
class Told:
    """What stored minutes do not tell yet, made beforehand."""

    newer: Newer

    def of(self, timeframe: str, table: Table | None) -> Newer:
        assert timeframe == "1m"
        return self.newer

    def freshness(self, timeframe: str, exchanges: Iterable[str]) -> Freshness:
        return OFF

    def at_hand(self, timeframe: str, table: Table | None) -> Newer | None:
        return self.of(timeframe, table)


def minutes(lake: TradeLake) -> pa.Table:
    files = planned(lake.lake.table(candle_name("1m")), CANDLE.schema)
    return lake.engine.query("select * from candles", {"candles": files}, CANDLE.schema)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    """A lake that has yet to take in some trades of all days."""
    lake = TradeLake(tmp_path_factory.mktemp("behind"))
    lake.add([t for t in TRADES if t not in HELD_BACK])
    return lake


@pytest.fixture(scope="module")
def readers(traded: TradeLake, lake: TradeLake) -> Iterator[tuple[CandleReader, CandleReader]]:
    """One that is told what its table lacks, and one whose table lacks nothing."""
    rows, old = minutes(traded), minutes(lake)
    known = {json.dumps(row, default=str) for row in old.to_pylist()}
    changed = [json.dumps(row, default=str) not in known for row in rows.to_pylist()]
    newer = rows.filter(pa.array(changed))
    told = Told(Newer(newer.select(list(CANDLE.key)), newer))
    behind, whole = LakeReader(lake.settings), LakeReader(traded.settings)
    yield CandleReader(behind, Symbols(behind), told), CandleReader(whole, Symbols(whole))
    behind.close()
    whole.close()


def found(reader: CandleReader, name: str, said: CandleParameters) -> list[dict[str, Any]]:
    rows = [json.loads(row) for row in reader.page(name, said)[1].rows]
    return [{k: v for k, v in row.items() if k != "final"} for row in rows]


@pytest.mark.parametrize(("name", "asked"), ASKED)
def test_an_answer_is_that_of_a_table_that_has_everything(
    readers: tuple[CandleReader, CandleReader], name: str, asked: dict[str, Any]
) -> None:
    said = CandleParameters(**asked)
    told, whole = readers
    expected = found(whole, name, said)
    assert expected
    assert found(told, name, said) == expected
    of_table = CandleParameters(**asked, fields="window_start, close")
    assert [r["close"] for r in found(told, name, of_table)] == [r["close"] for r in expected]


def test_a_page_from_memory_has_them_as_well(readers: tuple[CandleReader, CandleReader]) -> None:
    said = CandleParameters(symbol="BTC-USDT", exchange="binance", order="desc", limit=30)
    asked, page = readers[0].page("1m", said)
    at_once = readers[0].at_once("1m", said)
    assert at_once is not None
    assert at_once[1] == page
    every = ", ".join(asked.dataset.record.columns)
    of_table = CandleParameters(**{**said.model_dump(exclude_none=True), "fields": every})
    assert readers[0].page("1m", of_table)[1].rows == page.rows


def test_what_was_replaced_is_not_final(readers: tuple[CandleReader, CandleReader]) -> None:
    said = CandleParameters(symbol="BTC-USDT", start="2024-03-30", limit=10_000)
    asked, page = readers[0].page("1m", said)
    rows = [json.loads(row) for row in page.rows]
    replaced = {(e, f"{at:%Y-%m-%dT%H:%M}") for e, _, at in zip(*_keys(asked.newer), strict=True)}
    over = {(r["exchange"], r["window_start"][:16]): r["final"] for r in rows}
    assert all(not over[key] for key in replaced if key in over)
    assert sum(over.values()) > 20


def test_a_symbol_whose_first_trade_has_just_come_is_known(lake: TradeLake) -> None:
    rows = minutes(lake).slice(0, 1)
    names = pa.array(["NEW-USDT"])
    new = rows.set_column(rows.schema.get_field_index("symbol"), rows.schema.field("symbol"), names)
    reader = LakeReader(lake.settings)
    candles = CandleReader(reader, Symbols(reader), Told(Newer(new.select(list(CANDLE.key)), new)))
    for name in ("1m", "7m"):
        for more in ({}, {"exchange": "binance"}, {"fill": "prev"}):
            said = CandleParameters(symbol="new-usdt", **more)
            [row] = found(candles, name, said)
            assert (row["symbol"], row["trade_count"]) == (
                "NEW-USDT",
                new["trade_count"][0].as_py(),
            )
    with pytest.raises(UnknownName):
        candles.page("1m", CandleParameters(symbol="other-usdt"))
    reader.close()


def _keys(newer: Newer) -> list[list[Any]]:
    btc = newer.keys.filter(pa.compute.equal(newer.keys["symbol"], "BTC-USDT"))
    return [btc[name].to_pylist() for name in CANDLE.key]
