"""Candles."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from k2_api.answers.models import Candles
from k2_api.answers.pages import page_answer
from k2_api.guard.permits import requires
from k2_api.questions.candles import CandleParameters
from k2_api.routes.sources import PROBLEMS, candles_of

router = APIRouter(prefix="/v1", tags=["candles"], dependencies=[requires("read")])

Timeframe = Annotated[
    str,
    Path(
        max_length=16,
        description="A whole number and m, h, d or w, such as 1m, 7m, 4h, 1d or 2w, or 1M for "
        "months. Windows are counted from 1970-01-01 UTC, weeks from a Monday.",
    ),
]


@router.get("/ohlcv/{timeframe}", response_model=Candles, responses=PROBLEMS)
async def ohlcv(
    request: Request, timeframe: Timeframe, said: Annotated[CandleParameters, Query()]
) -> Response:
    """Candles by exchange, symbol and window_start.

    `start` and `end` are compared with window_start. Windows without a trade are left out, unless
    `fill` asks for them.
    """
    candles = candles_of(request)
    found = candles.at_once(timeframe, said)
    if found is None:
        found = await run_in_threadpool(candles.page, timeframe, said)
    return page_answer(found[0], said, found[1])
