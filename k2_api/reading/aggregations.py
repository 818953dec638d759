"""Figures of a range as a whole: candle, VWAP, TWAP, volume profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any, cast

import pyarrow as pa

from k2_api.answers.row_text import json_texts
from k2_api.questions.aggregations import AggregationParameters, ProfileParameters
from k2_api.reading.asked import Asked, ask
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.datasets import TRADES
from k2_api.reading.range_candles import MINUTE, MINUTES, across, range_candles
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Symbols
from k2_api.reading.twap import weighted_prices
from k2_api.reading.volume_profile import volume_profile
from k2_api.tail.tail import Tail
from k2_market.records import CANDLE, PRICE

_CENTS = Decimal("0.00000001")
# More digits than any sum has, so that a division is cut once.
_EXACT = Context(prec=60, rounding=ROUND_DOWN)
_TWAP = pa.schema(
    [
        CANDLE.schema.field("exchange"),
        CANDLE.schema.field("symbol"),
        pa.field("twap", PRICE),
        pa.field("covered_seconds", pa.decimal128(18, 6)),
        pa.field("trade_count", pa.int64()),
    ]
)
_VWAP = ["exchange", "symbol", "vwap", "volume", "quote_volume", "trade_count"]


@dataclass(frozen=True)
class Aggregated:
    """The rows as JSON, and the question with the range that was applied."""

    rows: list[str]
    asked: Asked

    @property
    def start(self) -> datetime:
        """The start of the range."""
        return cast("datetime", self.asked.start)

    @property
    def end(self) -> datetime:
        """The end of the range."""
        return cast("datetime", self.asked.end)


class Aggregations:
    """Answers them; safe to use from several threads.

    Every method raises UsageError, UnknownName, TooLarge, LakeUnavailable.
    """

    def __init__(
        self, reader: LakeReader, symbols: Symbols, candles: CandleReader, tail: Tail
    ) -> None:
        self._reader, self._symbols, self._candles, self._tail = reader, symbols, candles, tail

    def candle(self, said: AggregationParameters) -> Aggregated:
        """One candle of the range."""
        found = self._ask(said)
        return Aggregated(json_texts(self._candle(found, said, times=True)), found)

    def vwap(self, said: AggregationParameters) -> Aggregated:
        """Quote volume by volume, cut after eight decimals, and what it is made of."""
        found = self._ask(said)
        rows = self._candle(found, said, times=False)
        return Aggregated(json_texts(rows.select(_VWAP)), found)

    def twap(self, said: AggregationParameters) -> Aggregated:
        """See ``twap``."""
        found = self._ask(said)
        start, end = cast("tuple[datetime, datetime]", (found.start, found.end))
        rows = weighted_prices(self._reader, found, start, end, consolidated=said.consolidated)
        return Aggregated(json_texts(_averages(rows)), found)

    def profile(self, said: ProfileParameters) -> Aggregated:
        """See ``volume_profile``."""
        said.require_one()
        found = self._ask(said)
        rows = volume_profile(self._reader, found, said)
        return Aggregated(json_texts(rows), found)

    def _ask(self, said: AggregationParameters) -> Asked:
        return ask(self._reader, self._symbols, TRADES, said.range, tail=self._tail)

    def _candle(self, asked: Asked, said: AggregationParameters, *, times: bool) -> pa.Table:
        newer = self._candles.newer(MINUTE.name, self._reader.table(MINUTES.table))
        start, end = cast("tuple[datetime, datetime]", (asked.start, asked.end))
        each = range_candles(self._reader, asked, start, end, newer)
        if not said.consolidated:
            return each
        return across(self._reader, replace(asked, newer=newer), each, times=times)


def _averages(rows: list[Any]) -> pa.Table:
    found = [
        {
            "exchange": exchange,
            "symbol": symbol,
            "twap": _EXACT.divide(weighted, Decimal(us)).quantize(_CENTS, ROUND_DOWN),
            "covered_seconds": Decimal(us).scaleb(-6),
            "trade_count": trades,
        }
        for exchange, symbol, weighted, us, trades in rows
    ]
    return pa.Table.from_pylist(found, schema=_TWAP)
