"""All candles of a question at once: as many, and the same, as its pages have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from k2_api.answers.row_text import json_texts
from k2_api.questions.candles import CandleParameters
from k2_api.reading import candle_export, export
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Symbols
from k2_market.errors import TooLarge
from tests.k2_api.lake_of_trades import TradeLake

WHOLE = {"start": "2024-02-01", "end": "2024-11-30"}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("1m", {}),
    ("1m", {"order": "desc", "fields": "window_start,close,final"}),
    ("7m", {"symbol": "BTC-USDT"}),
    ("4h", {"symbol": "BTC-USDT", "fill": "prev"}),
    ("4h", {"symbol": "BTC-USDT,ETH-USDT", "fill": "prev", "consolidated": True}),
    ("1d", {"exchange": "binance", "fill": "prev", "tz": "Europe/Berlin", "order": "desc"}),
    ("1w", {"symbol": "ETH-USDT", "consolidated": True}),
    ("1h", {"symbol": "ETH-USDT", "end": "2024-03-01"}),
]


@pytest.fixture(scope="module")
def candles(traded: TradeLake) -> Iterator[CandleReader]:
    reader = LakeReader(traded.settings)
    yield CandleReader(reader, Symbols(reader))
    reader.close()


@pytest.mark.parametrize(("name", "asked"), ASKED)
def test_all_rows_are_those_of_the_pages(
    candles: CandleReader, monkeypatch: pytest.MonkeyPatch, name: str, asked: dict[str, Any]
) -> None:
    monkeypatch.setattr(candle_export, "BATCH_ROWS", 400)
    said = CandleParameters(**{**WHOLE, **asked}, limit=10_000)
    question, page = candles.page(name, said)
    assert page.next_cursor is None
    schema = pa.schema([question.dataset.record.schema.field(n) for n in question.fields])
    rows = pa.Table.from_batches(candles.batches(question), schema)
    assert json_texts(rows) == page.rows
    assert candles.count(question) == len(page.rows)
    some = pa.Table.from_batches(candles.batches(question, 7), schema)
    assert some.equals(rows.slice(0, 7))


def test_more_rows_than_an_answer_may_have_are_refused_before_the_first(
    candles: CandleReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_EXPORT_ROWS", 100)
    said = CandleParameters(**WHOLE, symbol="BTC-USDT", fill="prev", limit=100)
    asked = candles.asked("1h", said)
    with pytest.raises(TooLarge, match="Narrow it by start and end"):
        candles.batches(asked)
    assert sum(batch.num_rows for batch in candles.batches(asked, 50)) == 50
