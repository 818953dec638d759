"""What routes read from, out of the application's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from k2_api.answers.pages import page_answer
from k2_api.answers.problems import Problem
from k2_api.questions.parameters import Parameters
from k2_api.reading.asked import ask
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.datasets import Dataset
from k2_api.reading.queries import page
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Symbols
from k2_api.tail.tail import Tail

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "An exchange, symbol or timeframe that is not known."},
    422: {"model": Problem, "description": "A parameter that cannot be understood."},
    503: {"model": Problem, "description": "The tables cannot be read now; see Retry-After."},
}


def reader_of(request: Request) -> LakeReader:
    """The lake."""
    reader: LakeReader = request.app.state.reader
    return reader


def symbols_of(request: Request) -> Symbols:
    """Which instruments there are."""
    symbols: Symbols = request.app.state.symbols
    return symbols


def candles_of(request: Request) -> CandleReader:
    """What answers questions about candles."""
    candles: CandleReader = request.app.state.candles
    return candles


def rows(
    request: Request,
    dataset: Dataset,
    said: Parameters,
    conditions: Sequence[str] = (),
    values: Mapping[str, object] | None = None,
    **more: object,
) -> Response:
    """A page of the dataset. Raises UsageError, UnknownName, LakeUnavailable."""
    reader = reader_of(request)
    tail: Tail = request.app.state.tail
    asked = ask(reader, symbols_of(request), dataset, said, conditions, values, tail)
    return page_answer(asked, said, page(reader, asked, said.limit), **more)
