"""The connections under the application: none may cost more than it needs.

| bound                                      | value              | beyond it           |
| ------------------------------------------ | ------------------ | ------------------- |
| connections                                | 1,000              | 503 overloaded      |
| request line and headers                   | 32 KiB within 10 s | 431, 408            |
| a client that takes nothing of its answer  | 30 s               | the connection ends |
| an idle connection                         | 20 s               | it is closed        |
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS = 1_000
MAX_HEAD = 32 * 1024
HEAD_WITHIN_S = 10.0
TAKEN_WITHIN_S = 30.0
IDLE_S = 20


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 for clients that say quickly what they want, and take what they asked for."""

    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None
    _taken_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            said = f"{MAX_CONNECTIONS:,} connections are open. Ask again in a moment."
            self._turn_away(503, "overloaded", said)
            return
        self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._forget_head()
        self._forget_taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has grown too large."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._head_is_late)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD:
            said = f"the request line and headers are more than {MAX_HEAD:,} bytes. Send fewer."
            self._turn_away(431, "headers_too_large", said)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._forget_head()
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes now is the head of another request."""
        self._in_head = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client takes less than is written to it."""
        super().pause_writing()
        self._taken_timer = self.loop.call_later(TAKEN_WITHIN_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken it."""
        self._forget_taken()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer to what is no HTTP."""
        self._turn_away(400, "bad_request", f"{msg.rstrip('.')}: this is no HTTP/1.1.")

    def _head_is_late(self) -> None:
        said = f"the request was not there within {HEAD_WITHIN_S:g} s."
        self._turn_away(408, "request_timeout", said)

    def _turn_away(self, status: int, code: str, detail: str) -> None:
        """Say why as a problem (RFC 9457), and end the connection."""
        self._forget_head()
        if self.transport.is_closing():
            return
        title = HTTPStatus(status).phrase
        problem = {
            "type": f"urn:k2:problem:{code}",
            "title": title,
            "status": status,
            "detail": detail,
            "code": code,
            "instance": "",
        }
        body = msgspec.json.encode(problem)
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _forget_taken(self) -> None:
        if self._taken_timer is not None:
            self._taken_timer.cancel()
            self._taken_timer = None
