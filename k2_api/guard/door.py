"""The door of the API: every request passes here before the application sees it.

Plain ASGI, because each layer of Starlette's convenient middleware costs a task per request.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k2_api.answers.problems import refused
from k2_api.guard.budget import ASKING
from k2_api.guard.guard import Guard
from k2_api.guard.headers import Headers, completed, needs_key, safe_headers
from k2_api.guard.levels import Level
from k2_api.guard.refusals import Refusal
from k2_api.guard.sizes import bounded_body, require_short_uri

KEY = "k2.key"
LIVE = "/v1/live"


class Door:
    """Turns away what is too large, has no key or asks too often; completes all answers' headers.

    The key that came in stands in the scope under ``KEY``.
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or turn away."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        more = safe_headers(scope["path"])
        send = _completing(send, more)
        try:
            receive = await self._let_in(scope, receive, more)
            with self._place(scope):
                await self._app(scope, receive, send)
        except Refusal as refusal:
            answer = await refused(scope["path"], refusal)
            await answer(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, more: Headers) -> Receive:
        require_short_uri(scope)
        if needs_key(scope["path"]):
            client = scope["client"]
            headers = dict(scope["headers"])
            key = await self._guard.identify(headers, client[0] if client else "")
            taken = await self._guard.count(key, scope["path"])
            more += taken.headers()
            scope[KEY] = key
            ASKING.set(key.id)
            level = self._guard.levels.level()
            if level is not Level.NORMAL:
                more.append((b"k2-level", level.name.lower().encode()))
        return await bounded_body(scope, receive) if scope["type"] == "http" else receive

    def _place(self, scope: Scope) -> AbstractContextManager[None]:
        """A place for the request; what streams for ever is counted by whom it streams from."""
        key = scope.get(KEY)
        if key is None or scope["path"] == LIVE:
            return nullcontext()
        return self._guard.places.place(key.id)


def _completing(send: Send, more: Headers) -> Send:
    async def complete(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message["headers"] = completed(list(message.get("headers", [])), more)
        await send(message)

    return complete
