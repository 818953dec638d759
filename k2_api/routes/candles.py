"""Candles."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from k2_api.answers.models import Candles
from k2_api.guard.permits import requires
from k2_api.questions.parameters import RangeParameters
from k2_api.reading.datasets import candles
from k2_api.routes.sources import PROBLEMS, rows
from k2_market.timeframes import TIMEFRAMES

router = APIRouter(prefix="/v1", tags=["candles"], dependencies=[requires("read")])


@router.get("/ohlcv/{timeframe}", response_model=Candles, responses=PROBLEMS)
def ohlcv(
    request: Request,
    timeframe: Annotated[str, Path(description=f"One of {', '.join(TIMEFRAMES)}.")],
    said: Annotated[RangeParameters, Query()],
) -> Response:
    """Candles by exchange, symbol and window_start.

    `start` and `end` are compared with window_start. Windows without a trade are left out.
    """
    return rows(request, candles(timeframe), said)
