"""Candles."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from k2_api.answers.etags import tag_of
from k2_api.answers.models import CandleBatchAnswer, CandleHealth, Candles
from k2_api.answers.pages import answer, headers_of, page_json, text
from k2_api.answers.problems import problem_of
from k2_api.answers.wish import Wish, wish_of
from k2_api.guard.permits import permit, requires
from k2_api.questions.candles import TIMEFRAME, CandleBatch, CandleParameters
from k2_api.questions.parameters import NoParameters
from k2_api.reading.ahead import ahead
from k2_api.reading.batch import Answered, answered
from k2_api.routes.sources import FORMATTED, PROBLEMS, candles_of, streamed
from k2_market.errors import K2Error

router = APIRouter(prefix="/v1", tags=["candles"], dependencies=[requires("read")])

Timeframe = Annotated[str, Path(max_length=16, description=TIMEFRAME)]


@router.post(
    "/ohlcv/batch",
    response_model=CandleBatchAnswer,
    responses=PROBLEMS,
    dependencies=[requires("batch")],
)
def batch(request: Request, said: CandleBatch) -> Response:
    """Several questions at once, at most 20: each is answered, or has its own problem.

    All that is read from one table is of one snapshot.
    """
    said.require_bounded()
    found = answered(candles_of(request), said.requests)
    path = request.url.path
    items = [
        page_json(i.asked, i.said, i.page) if isinstance(i, Answered) else _problem(path, i)
        for i in found.items
    ]
    snapshots = {table: text(snapshot) for table, snapshot in found.snapshots.items()}
    meta = msgspec.json.encode({"snapshots": snapshots})
    body = b'{"data":[' + b",".join(items) + b'],"meta":' + meta + b"}"
    return Response(body, media_type="application/json")


def _problem(path: str, error: K2Error) -> bytes:
    return msgspec.json.encode({"problem": problem_of(path, error).model_dump()})


# Declared before the timeframes, or it would be taken for one.
@router.get(
    "/ohlcv/health", response_model=CandleHealth, responses={n: PROBLEMS[n] for n in (422, 503)}
)
def health(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
    """How far the candles of each instrument are: newest windows, what is final, gaps and lag."""
    return answer({"data": candles_of(request).health(request.app.state.lags.by_table())})


@router.get("/ohlcv/{timeframe}", response_model=Candles, responses=FORMATTED)
async def ohlcv(
    request: Request, timeframe: Timeframe, said: Annotated[CandleParameters, Query()]
) -> Response:
    """Candles by exchange, symbol and window_start.

    `start` and `end` are compared with window_start. Windows without a trade are left out, unless
    `fill` asks for them.
    """
    candles, wish = candles_of(request), wish_of(request, said.format)
    if wish.format.streamed:
        return await run_in_threadpool(_streamed, request, wish, timeframe, said)
    found = candles.at_once(timeframe, said)
    if found is None:
        found = await run_in_threadpool(candles.page, timeframe, said)
    asked, page = found
    # Rows from memory cost less than to find out whether they could have changed.
    headers = headers_of(asked, tag_of(said.model_dump(), page.snapshot_id, page.rows))
    return wish.unchanged(headers) or wish.json(page_json(asked, said, page), headers)


def _streamed(request: Request, wish: Wish, timeframe: str, said: CandleParameters) -> Response:
    permit(request, "export")
    candles = candles_of(request)
    asked = candles.asked(timeframe, said)
    return streamed(
        request, wish, asked, ahead(candles.batches(asked, said.most)), headers_of(asked)
    )
