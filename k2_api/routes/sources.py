"""What routes read from, out of the application's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from k2_api.answers.etags import tag_of
from k2_api.answers.formats import Format
from k2_api.answers.pages import headers_of, page_json
from k2_api.answers.problems import Problem
from k2_api.answers.streamed import Streamed
from k2_api.answers.wish import Headers, Wish, wish_of
from k2_api.guard.budget import ASKING
from k2_api.guard.guard import Guard
from k2_api.guard.permits import permit
from k2_api.guard.places import Places
from k2_api.questions.parameters import Parameters
from k2_api.reading.asked import Asked, ask
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.datasets import Dataset
from k2_api.reading.export import Batches, Exports, require_exportable
from k2_api.reading.queries import page
from k2_api.reading.reader import LakeReader, read_from
from k2_api.reading.symbols import Symbols
from k2_api.tail.tail import Tail

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "An exchange, symbol or timeframe that is not known."},
    406: {"model": Problem, "description": "A format that there is not."},
    413: {"model": Problem, "description": "More rows than one answer may have."},
    422: {"model": Problem, "description": "A parameter that cannot be understood."},
    503: {"model": Problem, "description": "The tables cannot be read now; see Retry-After."},
}

# What the data routes answer beside their problems: rows in every format, or nothing new.
FORMATTED: dict[int | str, dict[str, Any]] = {
    200: {"content": {f.media_type: {} for f in Format if f.streamed}},
    304: {"description": "The client has this answer already, by its ETag in If-None-Match."},
    **PROBLEMS,
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


def tail_of(request: Request) -> Tail:
    """What no table has yet."""
    tail: Tail = request.app.state.tail
    return tail


def rows(
    request: Request,
    dataset: Dataset,
    said: Parameters,
    conditions: Sequence[str] = (),
    values: Mapping[str, object] | None = None,
    **more: object,
) -> Response:
    """Rows of the dataset, in the format that is wished for.

    Raises UsageError, UnknownName, NotAcceptable, LakeUnavailable; of what is streamed also
    TooLarge, ScopeMissing and BreakerOpen.
    """
    reader, wish = reader_of(request), wish_of(request, said.format)
    symbols, tail = symbols_of(request), tail_of(request)
    asked = ask(reader, symbols, dataset, said, conditions, values, tail)
    headers = headers_of(asked, _tag(asked, said, wish))
    unchanged = wish.unchanged(headers)
    if unchanged is not None:
        return unchanged
    if not wish.format.streamed:
        return wish.json(page_json(asked, said, page(reader, asked, said.limit), **more), headers)
    permit(request, "export")
    limit = said.most
    require_exportable(reader, asked, limit)
    exports: Exports = request.app.state.exports
    return streamed(request, wish, asked, exports.rows(asked, limit), headers)


def streamed(
    request: Request, wish: Wish, asked: Asked, batches: Batches, headers: Headers
) -> Response:
    """The rows as they are read, in a file named after the table. It may turn out Overloaded."""
    guard: Guard = request.app.state.guard
    rows = _in_place(guard.exports, batches)
    return Streamed(wish, rows, asked.schema, asked.dataset.table.replace(".", "_"), headers)


def _in_place(places: Places, batches: Batches) -> Batches:
    """The batches, with a place taken from the first one to the end."""
    with closing(batches), places.place(ASKING.get()):
        yield from batches


def _tag(asked: Asked, said: Parameters, wish: Wish) -> str:
    snapshot, tail = read_from(asked.table, asked.at), asked.tail
    newer = None if tail is None else (tail.revision, tail.freshness.tail)
    return tag_of(asked.text, said.model_dump(), wish.format, snapshot, newer)
