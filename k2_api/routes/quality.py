"""How good the data is: the condition of days, gaps, reconciliation, what was rejected."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from k2_api.answers.models import Conditions, Gaps, Reconciliations, Rejections
from k2_api.guard.permits import requires
from k2_api.questions.parameters import (
    ConditionParameters,
    GapParameters,
    ReconciliationParameters,
    RejectedParameters,
)
from k2_api.reading import datasets
from k2_api.routes.sources import FORMATTED, rows

router = APIRouter(prefix="/v1", tags=["quality"], dependencies=[requires("read")])


@router.get("/condition", response_model=Conditions, responses=FORMATTED)
def condition(request: Request, said: Annotated[ConditionParameters, Query()]) -> Response:
    """Whether each day of an instrument is whole: available, degraded, pending or missing."""
    return rows(request, datasets.CONDITION, said)


@router.get("/gaps", response_model=Gaps, responses=FORMATTED)
def gaps(request: Request, said: Annotated[GapParameters, Query()]) -> Response:
    """Trade ids that are, or once were, missing, with the cause and whether they came after all."""
    return rows(request, datasets.GAPS, said)


@router.get("/reconciliation", response_model=Reconciliations, responses=FORMATTED)
def reconciliation(
    request: Request, said: Annotated[ReconciliationParameters, Query()]
) -> Response:
    """Candles beside the exchange's own: matched or not, with both figures."""
    return rows(request, datasets.RECONCILIATION, said)


@router.get("/rejected", response_model=Rejections, responses=FORMATTED)
def rejected(request: Request, said: Annotated[RejectedParameters, Query()]) -> Response:
    """What exchanges sent and no table took, with the reason; the payload is in base64."""
    return rows(request, datasets.REJECTED, said)
