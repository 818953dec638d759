"""Live streams as Server-Sent Events: one request, one answer without an end."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from k2_api.answers.messages import told
from k2_api.live import cursor as cursors
from k2_api.live.connection import Connection
from k2_api.live.hub import Hub
from k2_api.live.messages import Message
from k2_api.live.names import Subject
from k2_api.live.stream import Begin, begin_at
from k2_api.live.tasks import first_of
from k2_api.live.topic import AnyStream, Topic

MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RETRY_MS = 2_000


class Events(Response):
    """The answer: an event for each message, with the cursor of all streams together as its id."""

    media_type = MEDIA_TYPE

    def __init__(self, hub: Hub, key: str, subjects: Sequence[Subject], cursor: str | None) -> None:
        self._hub, self._key = hub, key
        self._about = _together(subjects)
        self._question = f"events {sorted((s.channel, s.exchange, s.symbol) for s in subjects)}"
        self._begins = self._decoded(cursor)
        self._streams: list[AnyStream] = []
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)

    def written(self, message: Message) -> str:
        """The event of a message."""
        return self._event(message.channel.partition(".")[0], message.text)

    def notice(self, kind: str, text: str) -> str:
        """The event of a message without rows."""
        return self._event(kind, text)

    def ended(self, connection: Connection, stream: AnyStream) -> None:
        """Never: these streams have no end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send events until the client leaves. Raises Overloaded, LiveOff before the first."""
        topics = [await self._hub.topic(a.kind, a.exchange) for a, _ in self._about]
        freshness = {
            f"{t.channel} {t.exchange}": self._hub.freshness(t.kind, t.exchange) for t in topics
        }
        with self._hub.connected(self._key, self) as connection:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            self._begin(connection, topics)
            connection.tell("subscribed", cursor=self._cursor(), freshness=freshness)
            await first_of(
                self._write(connection, send), _left(receive), connection.outbox.wait_closed()
            )
            self._hub.leave(connection)
            await self._close(connection, send)

    def _begin(self, connection: Connection, topics: Sequence[Topic]) -> None:
        each = zip(self._about, topics, self._begins, strict=True)
        for (about, symbols), topic, begin in each:
            self._streams.append(self._hub.begin(connection, topic, about, symbols, begin))

    async def _write(self, connection: Connection, send: Send) -> None:
        while True:
            try:
                text = await connection.outbox.take(self._hub.settings.heartbeat_s)
            except TimeoutError:
                await _send(send, KEEPALIVE_COMMENT)
            else:
                if text is None:
                    return
                await _send(send, text.encode())

    async def _close(self, connection: Connection, send: Send) -> None:
        """Say why, where the client can still be told: one that reads nothing cannot."""
        if connection.outbox.closed is None:
            return
        code, reason = connection.outbox.closed
        text = told("error", code=reason.partition(",")[0], detail=reason, close=code)
        with anyio.move_on_after(self._hub.settings.close_within_s):
            await _send(send, format_sse_event(event="error", data_str=text))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _event(self, kind: str, text: str) -> str:
        event = format_sse_event(
            event=kind,
            data_str=text,
            id=self._cursor(),
            retry=_RETRY_MS if kind == "subscribed" else None,
        )
        return event.decode()

    def _cursor(self) -> str:
        return cursors.encode([stream.state for stream in self._streams], self._question)

    def _decoded(self, cursor: str | None) -> list[Begin]:
        if cursor is None:
            return [Begin()] * len(self._about)
        return [begin_at(s) for s in cursors.decode(cursor, self._question, len(self._about))]


def _together(subjects: Sequence[Subject]) -> list[tuple[Subject, frozenset[str]]]:
    """What is one stream: all symbols of a channel and exchange, but of candles each alone."""
    found: dict[tuple[str, ...], tuple[Subject, frozenset[str]]] = {}
    for s in sorted(subjects, key=lambda s: (s.channel, s.exchange, s.symbol)):
        key = (s.channel, s.exchange) if s.grain is None else (s.channel, s.exchange, s.symbol)
        first, symbols = found.get(key, (s, frozenset()))
        found[key] = first, symbols | {s.symbol}
    return list(found.values())


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
