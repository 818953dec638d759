"""Replay: what came, of all channels, in the order in which it came."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from k2_api.answers.messages import NDJSON
from k2_api.guard.permits import requires
from k2_api.questions.replay import ReplayParameters
from k2_api.reading.replay import replay
from k2_api.routes.sources import PROBLEMS, reader_of, symbols_of

router = APIRouter(prefix="/v1", tags=["stream"], dependencies=[requires("read")])

_EXAMPLE = (
    '{"type":"trades","channel":"trades","exchange":"binance","symbol":"BTC-USDT",'
    '"data":[{"trade_id":"1","price":"60854.36000000"}],"cursor":"dGhl..."}\n'
    '{"type":"end","has_more":false,"cursor":"dGhl..."}\n'
)


@router.get(
    "/replay",
    response_class=Response,
    responses={
        200: {
            "description": "A message on each line, in the order of receipt; the last one is "
            "`end` and says whether there is more.",
            "content": {NDJSON: {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **PROBLEMS,
    },
)
def replayed(request: Request, asked: Annotated[ReplayParameters, Query()]) -> Response:
    """Trades and quotes merged by time of receipt, in the messages of `/v1/live`.

    The rows are those of `/v1/trades` and `/v1/quotes`. Each message says how to go on behind it.
    """
    messages = replay(reader_of(request), symbols_of(request), asked)
    lines = (f"{message}\n" for message in messages)
    return Response("".join(lines), media_type=NDJSON)
