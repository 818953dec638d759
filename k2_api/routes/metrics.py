"""What Prometheus reads."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from k2_api.guard.permits import requires

router = APIRouter(tags=["state"])


@router.get("/metrics", response_class=PlainTextResponse, dependencies=[requires("state")])
def metrics(request: Request) -> Response:
    """The metrics in Prometheus' text format. Always 200 while the API lives."""
    return Response(generate_latest(request.app.state.metrics), media_type=CONTENT_TYPE_LATEST)
