"""Live: rows as they come, over a WebSocket or as Server-Sent Events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, WebSocket
from fastapi.responses import Response

from k2_api.guard.door import KEY
from k2_api.guard.permits import requires
from k2_api.live.events import MEDIA_TYPE, Events
from k2_api.live.hub import Hub
from k2_api.live.names import subjects
from k2_api.live.socket import serve
from k2_api.questions.live import LiveParameters
from k2_api.routes.sources import PROBLEMS, symbols_of

router = APIRouter(prefix="/v1", tags=["stream"], dependencies=[requires("live")])

_EXAMPLE = (
    "event: trades\nid: bWFk...\n"
    'data: {"type":"trades","channel":"trades","exchange":"binance","symbol":"BTC-USDT",'
    '"data":[{"trade_id":"1","price":"60854.36000000"}],"cursor":"dGhl..."}\n\n'
)
_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "description": "The type of the message."},
        "id": {"type": "string", "description": "The cursor of all streams together."},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}


@router.websocket("/live")
async def live_socket(socket: WebSocket) -> None:
    """Trades and quotes as they come; see docs/live.md for what is said."""
    state = socket.app.state
    await serve(socket, state.live, state.symbols, socket.scope[KEY].id)


@router.get(
    "/live",
    response_class=Response,
    responses={
        200: {
            "description": "Events without an end, each with the cursor of them all as its id.",
            "content": {MEDIA_TYPE: {"itemSchema": _EVENT, "example": _EXAMPLE}},
        },
        **PROBLEMS,
    },
)
async def live_events(
    request: Request,
    said: Annotated[LiveParameters, Query()],
    last_event_id: Annotated[
        str | None, Header(max_length=8192, description="The id of the last event received.")
    ] = None,
) -> Response:
    """Trades and quotes as they come, as Server-Sent Events.

    The same address speaks the same messages over a WebSocket.
    """
    hub: Hub = request.app.state.live
    about = await hub.read(subjects, symbols_of(request), said, hub.settings.subscriptions)
    return Events(hub, request.scope[KEY].id, about, last_event_id or said.cursor)
