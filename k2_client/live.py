"""Rows as they come, over a WebSocket that is opened again where it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from random import uniform
from typing import Any, NamedTuple

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
)
from websockets.frames import Close, CloseCode
from websockets.sync.client import connect as connect_sync

from k2_client.access import Access
from k2_client.messages import Candles, Quotes, Refusal, Rows, Subscribed, Trades, read_message
from k2_client.problems import (
    BadAnswer,
    ClientError,
    Forbidden,
    K2Problem,
    LiveOff,
    NoAnswer,
    of_answer,
)

# What a reader that was away for long is sent at once can be much.
MOST_BYTES = 64 << 20
# A connection that held for so long had nothing wrong with it.
SETTLED_AFTER_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
LOST = (OSError, EOFError, ConnectionClosed, InvalidHandshake)

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """What is subscribed to: ``trades``, ``quotes`` or ``ohlcv.1m`` of one instrument."""

    channel: str
    exchange: str
    symbol: str


class Live:
    """The messages of subscriptions, to be iterated over with ``async for`` or ``for``.

    A connection that ends is opened again, behind the last message of each subscription: nothing is
    missed and nothing comes twice. ``cursors`` says where that is, to go on in another process.
    Raises ClientError for what connecting again cannot help, or did not for ``reconnect_for_s``.
    """

    def __init__(
        self,
        access: Access,
        places: Sequence[Place],
        cursors: Mapping[Place, str],
        start: str | None,
        reconnect_for_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access, self._places = access, list(places)
        self._unanswered: deque[int] = deque()
        self.cursors: dict[Place, str] = dict(cursors)
        self._start = start
        self._again = Again(reconnect_for_s, clock)

    async def __aiter__(self) -> AsyncIterator[Rows]:
        while True:
            try:
                async with connect(**self._how()) as socket:
                    self._again.opened()
                    for wish in self._wishes():
                        await socket.send(wish)
                    async for text in socket:
                        if (rows := self._taken(text)) is not None:
                            yield rows
                pause_s = self._again.pause_s(NoAnswer(f"{self._where} closed the connection."))
            except LOST as error:
                pause_s = self._again.pause_s(told(error, self._where))
            except ClientError as error:
                pause_s = self._again.pause_s(error)
            await asyncio.sleep(pause_s)

    def __iter__(self) -> Iterator[Rows]:
        while True:
            try:
                with connect_sync(**self._how()) as socket:
                    self._again.opened()
                    for wish in self._wishes():
                        socket.send(wish)
                    for text in socket:
                        if (rows := self._taken(text)) is not None:
                            yield rows
                pause_s = self._again.pause_s(NoAnswer(f"{self._where} closed the connection."))
            except LOST as error:
                pause_s = self._again.pause_s(told(error, self._where))
            except ClientError as error:
                pause_s = self._again.pause_s(error)
            time.sleep(pause_s)

    @property
    def _where(self) -> str:
        return f"{self._access.socket_address}/v1/live"

    def _how(self) -> dict[str, Any]:
        return {
            "uri": self._where,
            "additional_headers": self._access.headers,
            "user_agent_header": None,
            "proxy": None if self._access.is_here else True,
            "max_size": MOST_BYTES,
        }

    def _wishes(self) -> Iterator[str]:
        self._unanswered = deque(range(len(self._places)))
        for place in self._places:
            wish = {"op": "subscribe", **place._asdict()}
            if place in self.cursors:
                wish["cursor"] = self.cursors[place]
            elif self._start is not None:
                wish["start"] = self._start
            yield msgspec.json.encode(wish).decode()

    def _taken(self, text: str | bytes) -> Rows | None:
        message = read_message(text)
        match message:
            case Refusal():
                raise message.problem
            case Subscribed() if self._unanswered:
                # Answers come in the order of wishes, and in K2's spelling, as rows do.
                self._places[self._unanswered.popleft()] = self._kept(message)
            case Trades() | Quotes() | Candles():
                self._kept(message)
                self._again.worked()
                return message
        return None

    def _kept(self, message: Rows | Subscribed) -> Place:
        place = Place(message.channel, message.exchange, message.symbol)
        if message.cursor is not None:
            self.cursors[place] = message.cursor
        return place


class Again:
    """When to connect again: after a growing random pause, and for so long without success."""

    def __init__(self, for_s: float, clock: Callable[[], float]) -> None:
        self._for_s, self._clock = for_s, clock
        self._opened_at: float | None = None
        self._tries, self._failing_since = 0, clock()
        self._ever_worked = False

    def opened(self) -> None:
        """A connection stands."""
        self._opened_at = self._clock()

    def worked(self) -> None:
        """Something came."""
        self._tries, self._failing_since = 0, self._clock()
        self._ever_worked = True

    def pause_s(self, error: ClientError) -> float:
        """How long to wait before the next try. Raises the error where none may follow."""
        now = self._clock()
        if self._opened_at is not None and now - self._opened_at >= SETTLED_AFTER_S:
            self.worked()
        self._opened_at = None
        asked = error.retry_after_s if isinstance(error, K2Problem) else None
        wait_s = (asked or 0.0) + uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._tries))
        self._tries += 1
        is_off = isinstance(error, LiveOff) and not self._ever_worked
        if is_off or not error.retryable or now + wait_s - self._failing_since > self._for_s:
            raise error
        log.warning("%s Connecting again in %.1f s.", error, wait_s)
        return wait_s


def told(error: Exception, where: str) -> ClientError:
    """What ended a connection, or kept it from being made, in the client's words."""
    match error:
        case InvalidStatus(response=answer) if answer.status_code >= HTTPStatus.BAD_REQUEST:
            wait = answer.headers.get("Retry-After")
            return of_answer(answer.status_code, wait, bytes(answer.body))
        case ConnectionClosed(rcvd=Close(code=CloseCode.POLICY_VIOLATION, reason=reason)):
            return Forbidden(403, "closed", f"{where} ended the connection: {reason}.")
        case InvalidHandshake() if not isinstance(error.__cause__, EOFError):
            return BadAnswer(f"{where} does not speak WebSocket: {error}. Is this K2's API?")
    return NoAnswer(f"{where}: {str(error) or type(error).__name__}.")
