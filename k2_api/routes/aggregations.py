"""Figures of a range as a whole."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from k2_api.answers.aggregates import Profiles, RangeCandles, Twaps, Vwaps
from k2_api.answers.pages import text
from k2_api.guard.permits import requires
from k2_api.questions.aggregations import AggregationParameters, ProfileParameters
from k2_api.reading.aggregations import Aggregated, Aggregations
from k2_api.reading.reader import read_from
from k2_api.routes.sources import PROBLEMS

router = APIRouter(
    prefix="/v1/aggregations", tags=["aggregations"], dependencies=[requires("read")]
)

Asked = Annotated[AggregationParameters, Query()]


@router.get("/ohlcv", response_model=RangeCandles, responses=PROBLEMS)
def ohlcv(request: Request, said: Asked) -> Response:
    """One candle of the range, of any two instants, exactly that of its trades."""
    return _answer(_of(request).candle(said))


@router.get("/vwap", response_model=Vwaps, responses=PROBLEMS)
def vwap(request: Request, said: Asked) -> Response:
    """The volume-weighted average price of the range, from exact sums."""
    return _answer(_of(request).vwap(said))


@router.get("/twap", response_model=Twaps, responses=PROBLEMS)
def twap(request: Request, said: Asked) -> Response:
    """The time-weighted average price: each price counts for as long as it was the last one.

    At the start it is that of the last trade before, within a day; where there was none, time
    begins with the first trade of the range.
    """
    return _answer(_of(request).twap(said))


@router.get("/volume_profile", response_model=Profiles, responses=PROBLEMS)
def volume_profile(request: Request, said: Annotated[ProfileParameters, Query()]) -> Response:
    """How much was traded at which prices, in buckets; those without a trade are left out."""
    return _answer(_of(request).profile(said))


def _of(request: Request) -> Aggregations:
    found: Aggregations = request.app.state.aggregations
    return found


def _answer(found: Aggregated) -> Response:
    asked = found.asked
    meta = {
        "table": asked.dataset.table,
        "snapshot_id": text(read_from(asked.table, asked.at)),
        "start": found.start,
        "end": found.end,
        "freshness": None if asked.tail is None else asked.tail.freshness,
    }
    rows = ",".join(found.rows)
    body = f'{{"data":[{rows}],"meta":'.encode() + msgspec.json.encode(meta) + b"}"
    return Response(body, media_type="application/json")
