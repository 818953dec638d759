"""Several questions about candles in one request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import msgspec

from k2_client.answers import Answer, Meta, Page
from k2_client.problems import K2Problem, Told, of_told
from k2_client.query import Query, decoded
from k2_client.rows import Candle
from k2_client.transport import Http
from k2_market.errors import UsageError

MOST_QUESTIONS = 20
_CANDLES = "/v1/ohlcv/"


class _Item(msgspec.Struct):
    """One of the answers: rows, or the problem that one question had alone."""

    data: list[Candle] = []
    meta: Meta = Meta()
    problem: Told | None = None


def batched(http: Http, queries: Sequence[Query[Candle]]) -> Iterator[Page[Candle] | K2Problem]:
    """The answers in the order of the questions. Raises UsageError, ClientError."""
    questions = [_question(query) for query in queries]
    for first in range(0, len(questions), MOST_QUESTIONS):
        asked = questions[first : first + MOST_QUESTIONS]
        body = http.post(f"{_CANDLES}batch", msgspec.json.encode({"requests": asked}))
        found: Answer[list[_Item]] = decoded(body, Answer[list[_Item]])
        for item in found.data:
            yield of_told(item.problem) if item.problem else Page(item.data, item.meta)


def _question(query: Query[Candle]) -> dict[str, str | int | bool]:
    if not query.path.startswith(_CANDLES):
        raise UsageError(f"a batch is of candles alone: {query.path} is asked by itself.")
    question: dict[str, str | int | bool] = {**query.asked}
    question["timeframe"] = unquote(query.path.removeprefix(_CANDLES))
    if "consolidated" in question:
        question["consolidated"] = True
    if query.limit is not None:
        question["limit"] = query.limit
    return question
