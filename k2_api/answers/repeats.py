"""The same question again while nothing has changed: answered with the bytes of the last time.

It stands behind the guard, so that a key and its rate are looked at as ever, and before FastAPI,
whose machinery costs more than all else here. What an answer was made of is compared, not its age:
the catalog's state (see ``pulse``), what has come to the tail and whether it is asked. An age limit
remains for what none of them tells, such as that Kafka has fallen silent.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k2_api.answers.etags import names
from k2_api.guard.permits import permit
from k2_market.kinds import Kind

KEPT_BYTES = 64 * 1024 * 1024
LARGEST = 4 * 1024 * 1024
MOST_AGE_S = 1.0

# What decides about an answer beside its address.
_DECIDING = (b"accept", b"accept-encoding")
_NOT_WITH_304 = (b"content-length", b"content-type", b"content-encoding")

Question = tuple[bytes | str | None, ...]
State = tuple[object, ...]


@dataclass
class Kept:
    """An answer, what it was made of and when."""

    state: State
    at: float
    start: Message
    body: bytes = b""

    @property
    def tag(self) -> str:
        """The answer's ETag."""
        tag: bytes = dict(self.start["headers"])[b"etag"]
        return tag.decode()

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.body) + 1_024


class Repeats:
    """Keeps whole JSON answers that have an ETag, those asked for least recently go first.

    For one event loop. Where nobody can tell whether the catalog has changed, nothing is kept.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: OrderedDict[Question, Kept] = OrderedDict()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from what is kept, or pass the question on and keep the answer."""
        state = _state(scope)
        if state is None:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        question = (scope["path"], scope["query_string"], *map(headers.get, _DECIDING))
        kept, now = self._kept.get(question), time.monotonic()
        if kept is None or kept.state != state or now - kept.at > MOST_AGE_S:
            await self._app(scope, receive, self._keeping(question, state, now, send))
            return
        permit(HTTPConnection(scope), "read")
        self._kept.move_to_end(question)
        await _sent_again(kept, headers.get(b"if-none-match"), send)

    def _keeping(self, question: Question, state: State, now: float, send: Send) -> Send:
        """``send``, that keeps what it sends where that can be sent again."""
        answer: Kept | None = None

        async def keep(message: Message) -> None:
            nonlocal answer
            if message["type"] == "http.response.start" and _repeatable(message):
                own = {**message, "headers": list(message["headers"])}
                answer = Kept(state, now, own)
            elif message["type"] == "http.response.body" and answer is not None:
                if not message.get("more_body") and len(message["body"]) <= LARGEST:
                    answer.body = bytes(message["body"])
                    self._add(question, answer)
                answer = None
            await send(message)

        return keep

    def _add(self, question: Question, answer: Kept) -> None:
        old = self._kept.pop(question, None)
        self._bytes += answer.size - (0 if old is None else old.size)
        self._kept[question] = answer
        while self._bytes > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.size


def _state(scope: Scope) -> State | None:
    """What answers are made of now; None where that cannot be told, or nothing is kept."""
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/v1/"):
        return None
    state = scope["app"].state
    beat = state.reader.beat()
    tail = state.guard.levels.allows("tail")
    return None if beat is None else (beat, tail, *map(state.tail.mark, Kind))


def _repeatable(start: Message) -> bool:
    headers = dict(start["headers"])
    is_json = headers.get(b"content-type") == b"application/json"
    return bool(start["status"] == 200 and is_json and b"etag" in headers)


async def _sent_again(kept: Kept, known: bytes | None, send: Send) -> None:
    if names(None if known is None else known.decode("latin-1"), kept.tag):
        own = [h for h in kept.start["headers"] if h[0] not in _NOT_WITH_304]
        await send({"type": "http.response.start", "status": 304, "headers": own})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({**kept.start, "headers": list(kept.start["headers"])})
    await send({"type": "http.response.body", "body": kept.body})
