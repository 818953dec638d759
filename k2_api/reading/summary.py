"""A day of an instrument in one answer: its candle, its condition, its gaps, its quotes."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from k2_api.questions.candles import CandleParameters
from k2_api.questions.parameters import (
    ConditionParameters,
    GapParameters,
    ListingParameters,
    Parameters,
    RangeParameters,
)
from k2_api.reading.asked import ask
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.datasets import CONDITION, GAPS, QUOTES, QUOTES_TABLE, Dataset
from k2_api.reading.queries import count, page, rows_of
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Symbols, listing_as_of, require_exchange
from k2_market.errors import UsageError
from k2_market.instants import instant


def summaries(
    reader: LakeReader,
    symbols: Symbols,
    candles: CandleReader,
    symbol: str,
    date: str,
    said: ListingParameters,
) -> list[dict[str, Any]]:
    """One row for each exchange that ever had trades of the symbol.

    As of a tag or an instant all of its tables are read as they were then. Raises UsageError where
    ``date`` is no day, UnknownName, LakeUnavailable.
    """
    day = _day(date)
    listing = listing_as_of(reader, symbols, said.as_of)
    exchanges = [require_exchange(e) for e in said.exchanges]
    name = listing.resolve(symbol, exchanges)
    return [
        _Day(reader, symbols, candles, (found.exchange, name), day, said.as_of).summary()
        for found in listing.matching(exchanges, [name])
    ]


def _day(date: str) -> datetime:
    start = instant("date", date)
    if start.timetz() != time.min.replace(tzinfo=UTC):
        raise UsageError(f"date: {date!r} is not a day. Write it as 2024-08-08.")
    return start


class _Day:
    """One day of one instrument on one exchange."""

    def __init__(
        self,
        reader: LakeReader,
        symbols: Symbols,
        candles: CandleReader,
        instrument: tuple[str, str],
        day: datetime,
        as_of: str | None,
    ) -> None:
        self._reader, self._symbols, self._candles = reader, symbols, candles
        self._exchange, self._symbol = instrument
        self._start = day
        self._asked = {
            "exchange": self._exchange,
            "symbol": self._symbol,
            "start": day.isoformat(),
            "end": (day + timedelta(days=1)).isoformat(),
            "as_of": as_of,
        }

    def summary(self) -> dict[str, Any]:
        """What the answer has of it."""
        said = RangeParameters.model_validate(self._asked)
        candle = self._candles.page("1d", CandleParameters.model_validate(self._asked))[1]
        return {
            "exchange": self._exchange,
            "symbol": self._symbol,
            "date": self._start.date(),
            "candle": next(iter(rows_of(candle)), None),
            "conditions": self._rows(CONDITION, ConditionParameters.model_validate(self._asked)),
            "gaps": self._rows(GAPS, GapParameters.model_validate(self._asked)),
            "quotes": self._quotes(said),
        }

    def _rows(self, dataset: Dataset, said: Parameters) -> list[dict[str, Any]]:
        asked = ask(self._reader, self._symbols, dataset, said)
        return rows_of(page(self._reader, asked, said.limit))

    def _quotes(self, said: Parameters) -> int:
        if not self._symbols.listing(QUOTES_TABLE).matching([self._exchange], [self._symbol]):
            return 0
        return count(self._reader, ask(self._reader, self._symbols, QUOTES, said))
