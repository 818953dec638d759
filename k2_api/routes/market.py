"""Trades and quotes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from k2_api.answers.models import Quotes, Trades
from k2_api.guard.permits import requires
from k2_api.questions.parameters import RangeParameters
from k2_api.reading.datasets import QUOTES, TRADES
from k2_api.routes.sources import FORMATTED, rows

router = APIRouter(prefix="/v1", tags=["market"], dependencies=[requires("read")])


@router.get("/trades", response_model=Trades, responses=FORMATTED)
def trades(request: Request, said: Annotated[RangeParameters, Query()]) -> Response:
    """Trades, each exactly once, by exchange, symbol, timestamp, source_sequence and trade_id."""
    return rows(request, TRADES, said)


@router.get("/quotes", response_model=Quotes, responses=FORMATTED)
def quotes(request: Request, said: Annotated[RangeParameters, Query()]) -> Response:
    """Best bids and asks, by exchange, symbol, timestamp, source_sequence and quote_id."""
    return rows(request, QUOTES, said)
