"""Live streams over a WebSocket: what a client may say, and how a connection ends."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from k2_api.guard.refusals import Refusal
from k2_api.live import cursor as cursors
from k2_api.live.connection import Connection
from k2_api.live.history import LATER
from k2_api.live.hub import Hub
from k2_api.live.messages import Message
from k2_api.live.names import Subject, subject
from k2_api.live.places import Position
from k2_api.live.stream import Begin, begin_at
from k2_api.live.tasks import first_of
from k2_api.live.topic import AnyStream
from k2_api.reading.symbols import Symbols
from k2_market.errors import K2Error, UnknownName, UsageError
from k2_market.instants import instant

PROTOCOL = "k2.v1"


class _Named(msgspec.Struct, tag_field="op", forbid_unknown_fields=True):
    channel: str
    exchange: str
    symbol: str


class Subscribe(_Named, tag="subscribe"):
    """Send what comes: from now on, behind ``cursor``, or what was received from ``start`` on."""

    cursor: str | None = None
    start: str | None = None
    end: str | None = None


class Unsubscribe(_Named, tag="unsubscribe"):
    """Send it no more."""


class Ping(msgspec.Struct, tag_field="op", tag="ping", forbid_unknown_fields=True):
    """Answer with a pong, behind all that was sent before."""


_DECODER = msgspec.json.Decoder(Subscribe | Unsubscribe | Ping)
_HOW = (
    'Send {"op":"subscribe","channel":"trades","exchange":"binance","symbol":"BTC-USDT"}, the same '
    'with "unsubscribe", or {"op":"ping"}'
)


async def serve(socket: WebSocket, hub: Hub, symbols: Symbols, key: str) -> None:
    """Talk with the client until either ends it. Raises Overloaded, LiveOff before it begins."""
    session = _Session(hub, symbols)
    with hub.connected(key, session) as connection:
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(PROTOCOL if PROTOCOL in offered else None)
        with suppress(WebSocketDisconnect):
            await first_of(
                session.listen(socket, connection),
                _write(socket, connection),
                connection.outbox.wait_closed(),
            )
        hub.leave(connection)
        await _close(socket, connection, hub.settings.close_within_s)


async def _write(socket: WebSocket, connection: Connection) -> None:
    while (text := await connection.outbox.take()) is not None:
        await socket.send_text(text)


async def _close(socket: WebSocket, connection: Connection, within_s: float) -> None:
    """Say why, where the client can still be told: one that reads nothing cannot."""
    if WebSocketState.DISCONNECTED in (socket.client_state, socket.application_state):
        return
    with anyio.move_on_after(within_s), suppress(WebSocketDisconnect):
        await socket.close(*(connection.outbox.closed or (1000, "")))


class _Session:
    """The conversation of one connection: each message is answered before the next is read."""

    def __init__(self, hub: Hub, symbols: Symbols) -> None:
        self._hub, self._symbols = hub, symbols
        self._streams: dict[Subject, AnyStream] = {}

    def written(self, message: Message) -> str:
        """The message itself: it says what it is about."""
        return message.text

    def notice(self, kind: str, text: str) -> str:  # noqa: ARG002
        """The text itself."""
        return text

    def ended(self, connection: Connection, stream: AnyStream) -> None:
        """The range of a subscription ended, and the subscription with it."""
        about = next(a for a, own in self._streams.items() if own is stream)
        del self._streams[about]
        self._hub.end(connection, stream)
        cursor = _cursor(about, stream)
        connection.tell("end", **_about(about), has_more=False, cursor=cursor)

    async def listen(self, socket: WebSocket, connection: Connection) -> None:
        """Do what the client says until it leaves."""
        outbox = connection.outbox
        while (message := await socket.receive())["type"] == "websocket.receive":
            text = message.get("text")
            if text is None:
                outbox.close(1003, "messages are JSON texts")
            elif len(text) > self._hub.settings.message_bytes:
                outbox.close(1009, "the message is too long")
            else:
                await outbox.room()
                await self._answer(text, connection)

    async def _answer(self, text: str, connection: Connection) -> None:
        try:
            said = _DECODER.decode(text)
        except msgspec.MsgspecError as error:
            connection.tell("error", code="invalid_message", status=422, detail=f"{error}. {_HOW}.")
            return
        if isinstance(said, Ping):
            connection.tell("pong")
            return
        try:
            if isinstance(said, Subscribe):
                await self._subscribe(said, connection)
            else:
                await self._unsubscribe(said, connection)
        except (UsageError, *LATER) as error:
            code, status = _code(error)
            connection.tell("error", code=code, status=status, detail=str(error), **_about(said))

    async def _subscribe(self, said: Subscribe, connection: Connection) -> None:
        about = await self._subject(said)
        freshness = self._hub.freshness(about.kind, about.exchange)
        begin = _begin(said, about)
        topic = await self._hub.topic(about.kind, about.exchange)
        self._require_room(about)
        stream = self._hub.begin(connection, topic, about, frozenset([about.symbol]), begin)
        self._streams[about] = stream
        cursor = _cursor(about, stream)
        connection.tell("subscribed", **_about(about), cursor=cursor, freshness=freshness)

    def _require_room(self, about: Subject) -> None:
        if about in self._streams:
            raise UsageError(
                f"{about.channel} of {about.symbol} on {about.exchange} is subscribed to already. "
                "Unsubscribe first to begin elsewhere."
            )
        most = self._hub.settings.subscriptions
        if len(self._streams) >= most:
            raise UsageError(f"{most} subscriptions are the most of a connection. Open another.")

    async def _unsubscribe(self, said: Unsubscribe, connection: Connection) -> None:
        about = await self._subject(said)
        stream = self._streams.pop(about, None)
        if stream is None:
            raise UsageError(
                f"{about.channel} of {about.symbol} on {about.exchange} is not subscribed to."
            )
        self._hub.end(connection, stream)
        connection.tell("unsubscribed", **_about(about), cursor=_cursor(about, stream))

    async def _subject(self, said: Subscribe | Unsubscribe) -> Subject:
        names = (self._symbols, said.channel, said.exchange, said.symbol)
        return await self._hub.read(subject, *names)


def _begin(said: Subscribe, about: Subject) -> Begin:
    """From where on, and up to when. Raises UsageError."""
    start = None if said.start is None else instant("start", said.start)
    end = None if said.end is None else instant("end", said.end)
    if said.cursor is not None:
        if start is not None:
            raise UsageError("start: the cursor says where to go on. Send one of the two.")
        [state] = cursors.decode(said.cursor, about.question, 1)
        return replace(begin_at(state), end=end)
    if end is None:
        return Begin(None if start is None else Position(), start=start)
    if start is None or not start < end <= datetime.now(UTC):
        raise UsageError(
            "end: it needs a start before it, and to have passed. Without it, go live."
        )
    return Begin(Position(), start=start, end=end)


def _cursor(about: Subject, stream: AnyStream) -> str:
    return cursors.encode([stream.state], about.question)


def _about(named: Subject | Subscribe | Unsubscribe) -> dict[str, str]:
    return {"channel": named.channel, "exchange": named.exchange, "symbol": named.symbol}


def _code(error: K2Error) -> tuple[str, int]:
    """What kind of problem it is, and the status that it has over HTTP."""
    if isinstance(error, UnknownName):
        return f"unknown_{error.kind}", 404
    if isinstance(error, Refusal):
        return error.code, error.status
    return (
        ("invalid_parameter", 422) if isinstance(error, UsageError) else ("lake_unavailable", 503)
    )
