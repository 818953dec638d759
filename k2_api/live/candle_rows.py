"""Candles as the history answers them, for streams: the same question, and so the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from k2_api.live.places import from_micros, to_micros
from k2_api.questions.candles import CandleParameters
from k2_api.questions.parameters import MAX_LIMIT
from k2_api.reading.asked import Asked
from k2_api.reading.queries import Page
from k2_market.errors import UnknownName


class Pages(Protocol):
    """What answers questions about candles."""

    def page(self, timeframe: str, said: CandleParameters) -> tuple[Asked, Page]:
        """A page of candles. Raises UsageError, UnknownName, LakeUnavailable."""


class CandleRow(NamedTuple):
    """A candle as JSON text; ``window`` is its start in us since 1970 UTC."""

    symbol: str
    window: int
    is_final: bool
    text: str


class _Head(msgspec.Struct):
    symbol: str
    window_start: str
    final: bool


_HEAD = msgspec.json.Decoder(_Head)


class CandleRows:
    """Reads candles; blocks, and is safe to use from several threads."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def of(
        self, timeframe: str, exchange: str, symbols: Sequence[str], start: int, end: int | None
    ) -> list[CandleRow]:
        """The first windows in [start, end) that have trades, MAX_LIMIT at most.

        By symbol and window; of symbols that no table knows yet there are none.
        """
        said = CandleParameters.model_validate(
            {
                "symbol": ",".join(symbols),
                "exchange": exchange,
                "start": _text(start),
                "end": None if end is None else _text(end),
                "limit": MAX_LIMIT,
            }
        )
        try:
            _, page = self._pages.page(timeframe, said)
        except UnknownName:
            if len(symbols) == 1:
                return []
            each = (self.of(timeframe, exchange, [s], start, end) for s in symbols)
            return [row for rows in each for row in rows]
        return [_row(text) for text in page.rows]


def _row(text: str) -> CandleRow:
    head = _HEAD.decode(text)
    return CandleRow(head.symbol, micros_of(head.window_start), head.final, text)


def micros_of(text: str) -> int:
    """An instant as answers write it, in us since 1970 UTC."""
    return to_micros(datetime.fromisoformat(text))


def _text(micros: int) -> str:
    return f"{from_micros(micros):%Y-%m-%dT%H:%M:%S.%fZ}"
