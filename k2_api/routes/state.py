"""Whether the API and the lake behind it are well."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from k2_api.answers.models import Alive, Health
from k2_api.answers.pages import answer
from k2_api.answers.problems import without_places
from k2_api.guard.guard import Guard
from k2_api.guard.permits import requires
from k2_api.reading.state import table_states
from k2_api.routes.sources import PROBLEMS, reader_of, symbols_of
from k2_lake.tables import TABLES
from k2_market.errors import LakeUnavailable

router = APIRouter(tags=["state"])


@router.get("/health/live", response_model=Alive)
async def live() -> Response:
    """Whether the process lives: 200 as long as it answers at all. Needs no key."""
    return answer({"status": "ok"})


@router.get("/health/ready", response_model=Alive, responses={503: PROBLEMS[503]})
def ready(request: Request) -> Response:
    """Whether questions can be answered: 503 while the tables cannot be read. Needs no key."""
    reader_of(request).tables()
    return answer({"status": "ok"})


@router.get("/health", response_model=Health, dependencies=[requires("state")])
def health(request: Request) -> Response:
    """What the API sees of the tables, and how it is. Always 200 while it lives."""
    guard: Guard = request.app.state.guard
    found: dict[str, Any] = {
        "status": "ok",
        "detail": None,
        "version": version("k2-market-data"),
        **guard.state(),
    }
    try:
        newest = symbols_of(request).listing().newest
        lags = request.app.state.lags.by_table()
        tables = table_states(reader_of(request), list(TABLES), lags)
    except LakeUnavailable as error:
        found.update(
            status="degraded", detail=without_places(str(error)), newest_trade=None, tables=[]
        )
    else:
        found.update(newest_trade=newest, tables=tables)
    return answer(found)
