"""How much a question asks for, before it is asked: below every route of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from k2_api.answers.pages import answer, text
from k2_api.answers.sizes import SAMPLE_ROWS, Counted, sizes
from k2_api.guard.permits import requires
from k2_api.questions.candles import TIMEFRAME, CandleParameters
from k2_api.questions.parameters import (
    ConditionParameters,
    GapParameters,
    InstrumentParameters,
    Parameters,
    RangeParameters,
    ReconciliationParameters,
    RejectedParameters,
)
from k2_api.reading import datasets
from k2_api.reading.asked import Asked, ask
from k2_api.reading.datasets import Dataset
from k2_api.reading.instruments import instrument_conditions
from k2_api.reading.queries import count, sample
from k2_api.reading.reader import read_from
from k2_api.routes.sources import PROBLEMS, candles_of, reader_of, symbols_of, tail_of

router = APIRouter(prefix="/v1", tags=["counts"], dependencies=[requires("read")])


@router.get("/trades/count", response_model=Counted, responses=PROBLEMS)
def trades(request: Request, said: Annotated[RangeParameters, Query()]) -> Response:
    """How many trades, and about how many bytes in each format."""
    return _counted(request, datasets.TRADES, said)


@router.get("/quotes/count", response_model=Counted, responses=PROBLEMS)
def quotes(request: Request, said: Annotated[RangeParameters, Query()]) -> Response:
    """How many quotes, and about how many bytes in each format."""
    return _counted(request, datasets.QUOTES, said)


@router.get("/ohlcv/{timeframe}/count", response_model=Counted, responses=PROBLEMS)
def ohlcv(
    request: Request,
    timeframe: Annotated[str, Path(max_length=16, description=TIMEFRAME)],
    said: Annotated[CandleParameters, Query()],
) -> Response:
    """How many candles, and about how many bytes in each format."""
    candles = candles_of(request)
    asked = candles.asked(timeframe, said)
    found = [batch.cast(asked.schema) for batch in candles.batches(asked, SAMPLE_ROWS)]
    return _answer(asked, candles.count(asked), pa.Table.from_batches(found, asked.schema))


@router.get("/condition/count", response_model=Counted, responses=PROBLEMS)
def condition(request: Request, said: Annotated[ConditionParameters, Query()]) -> Response:
    """How many days of instruments, and about how many bytes in each format."""
    return _counted(request, datasets.CONDITION, said)


@router.get("/gaps/count", response_model=Counted, responses=PROBLEMS)
def gaps(request: Request, said: Annotated[GapParameters, Query()]) -> Response:
    """How many gaps, and about how many bytes in each format."""
    return _counted(request, datasets.GAPS, said)


@router.get("/reconciliation/count", response_model=Counted, responses=PROBLEMS)
def reconciliation(
    request: Request, said: Annotated[ReconciliationParameters, Query()]
) -> Response:
    """How many windows were compared, and about how many bytes in each format."""
    return _counted(request, datasets.RECONCILIATION, said)


@router.get("/rejected/count", response_model=Counted, responses=PROBLEMS)
def rejected(request: Request, said: Annotated[RejectedParameters, Query()]) -> Response:
    """How many rows were rejected, and about how many bytes in each format."""
    return _counted(request, datasets.REJECTED, said)


@router.get("/instruments/count", response_model=Counted, responses=PROBLEMS)
def instruments(request: Request, said: Annotated[InstrumentParameters, Query()]) -> Response:
    """How many instruments, and about how many bytes in each format."""
    conditions, values, _ = instrument_conditions(said)
    return _counted(request, datasets.INSTRUMENTS, said, conditions, values)


def _counted(
    request: Request,
    dataset: Dataset,
    said: Parameters,
    conditions: Sequence[str] = (),
    values: Mapping[str, object] | None = None,
) -> Response:
    reader, symbols = reader_of(request), symbols_of(request)
    asked = ask(reader, symbols, dataset, said, conditions, values, tail_of(request))
    return _answer(asked, count(reader, asked), sample(reader, asked, SAMPLE_ROWS))


def _answer(asked: Asked, rows: int, found: pa.Table) -> Response:
    meta = {
        "table": asked.dataset.table,
        "snapshot_id": text(read_from(asked.table, asked.at)),
        "start": asked.start,
        "end": asked.end,
        "freshness": None if asked.tail is None else asked.tail.freshness,
    }
    return answer({"data": {"rows": rows, "bytes": sizes(rows, found)}, "meta": meta})
