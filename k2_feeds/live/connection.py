"""One connection to an exchange: subscribe, hand on frames, tell how it is, end in good order."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from k2_feeds.adapter import Answer, Channel
from k2_feeds.kafka.frame import Frame, Origin
from k2_feeds.live.liveness import Vitals
from k2_feeds.live.router import FrameRouter
from k2_market.errors import Disconnected, SubscriptionRefused

_OPEN_WITHIN_S = 10.0
_PING_S = 20.0
_CLOSE_WITHIN_S = 2.0
_MAX_FRAME_BYTES = 16 * 1024 * 1024
_QUEUED_FRAMES = 64  # read ahead of Kafka; beyond them TCP holds the exchange back
# Of the messages a second that an exchange takes; its own pings that we answer count as well.
_PACE = 0.75

log = logging.getLogger(__name__)


@dataclass
class SessionStatus:
    """What a session can say of itself. ``refused``: the exchange's words by what it refused.

    ``blocked_since_us`` is when frames began to wait for Kafka, None while none does; ``waits``
    counts how often they did.
    """

    url: str = ""
    connections: int = 0
    frames: int = 0
    waits: int = 0
    blocked_since_us: int | None = None
    last_frame_at_us: int | None = None
    longest_gap_us: int = 0
    last_error: str | None = None
    refused: dict[str, str] = field(default_factory=dict)


class Connection:
    """One connection: its number, its frames counted from 0, its answers still awaited.

    ``tls`` is what a ``wss`` address is verified with.
    """

    def __init__(
        self,
        router: FrameRouter,
        symbols: Sequence[str],
        url: str,
        status: SessionStatus,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.id = secrets.randbelow(2**63 - 1) + 1
        self.stands_since: float | None = None
        self._router, self._symbols, self._url, self._status = router, symbols, url, status
        self._tls = tls
        self._socket: ClientConnection | None = None
        self._awaited = set(router.adapter.awaited(symbols, router.kind))
        self._asked: str | None = None  # what a refusal without a key is the answer to
        self._answered = asyncio.Event()
        self._accepted = 0
        self._sequence = 0
        self._opened_at = self._last_frame_at = self._asked_at = time.monotonic()
        self._blocked = self._closing = False

    @property
    def vitals(self) -> Vitals:
        """For ``judge``."""
        return Vitals(
            self._opened_at,
            self._last_frame_at,
            len(self._awaited),
            self._blocked,
            self._closing,
            self._asked_at,
        )

    @property
    def unanswered(self) -> list[str]:
        """The keys of the subscriptions that the exchange has not answered."""
        return sorted(self._awaited)

    def stands_for(self, seconds: float, now: float) -> bool:
        """Whether its subscription was complete that long ago."""
        return self.stands_since is not None and now - self.stands_since >= seconds

    async def run(self) -> None:
        """Deliver frames until the connection ends, which it does by raising."""
        secure = urlsplit(self._url).scheme == "wss"
        async with connect(
            self._url,
            ssl=(self._tls or True) if secure else None,
            open_timeout=_OPEN_WITHIN_S,
            ping_interval=None,  # websockets' own would end a connection that waits for Kafka
            close_timeout=_CLOSE_WITHIN_S,
            max_size=_MAX_FRAME_BYTES,
            max_queue=_QUEUED_FRAMES,
            proxy=None if _is_loopback(self._url) else True,
        ) as socket:
            self._socket = socket
            self._opened_at = self._last_frame_at = self._asked_at = time.monotonic()
            self._status.connections += 1
            tasks = {
                asyncio.create_task(work(socket))
                for work in (self._listen, self._subscribe, self._ping)
            }
            try:
                await _first_failure(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Begin the closing handshake; ``run`` ends once all that came before is handed on."""
        if self._socket is not None:
            await self._socket.close()

    async def _subscribe(self, socket: ClientConnection) -> None:
        """Ask for the symbols, no faster than the exchange takes messages."""
        limits = self._router.adapter.limits
        pause = 1 / (limits.messages_per_s * _PACE)
        for number, (message, key) in enumerate(self._messages()):
            if number:
                await asyncio.sleep(pause)
            self._asked, self._asked_at = key, time.monotonic()
            self._answered.clear()
            with suppress(ConnectionClosed):  # which the listener tells
                await socket.send(message)
            if limits.one_at_a_time:
                await self._answered.wait()

    def _messages(self) -> Iterator[tuple[str, str | None]]:
        """What to send, and what an answer without a key is the answer to."""
        adapter = self._router.adapter
        if not adapter.limits.one_at_a_time:
            for message in adapter.subscribe(self._symbols, self._router.kind):
                yield message, None
            return
        for symbol in self._symbols:
            for message in adapter.subscribe([symbol], self._router.kind):
                yield message, min(adapter.awaited([symbol], self._router.kind))

    async def _ping(self, socket: ClientConnection) -> None:
        """Give up on who does not answer pings, but not while reading waits for Kafka."""
        while True:
            await asyncio.sleep(_PING_S)
            with suppress(ConnectionClosed):
                pong = asyncio.ensure_future(await socket.ping())
                while not await _done(pong, _PING_S):
                    if not self._blocked:
                        raise Disconnected(
                            f"{self._url} has not answered a ping in {_PING_S:.0f} s"
                        )

    async def _listen(self, socket: ClientConnection) -> None:
        receive, hand_on, status = socket.recv, self._hand_on, self._status
        while True:
            payload = await receive(decode=False)
            now_us = time.time_ns() // 1000
            self._last_frame_at = time.monotonic()
            status.frames += 1
            if status.last_frame_at_us is not None:
                gap = now_us - status.last_frame_at_us
                if gap > status.longest_gap_us:
                    status.longest_gap_us = gap
            status.last_frame_at_us = now_us
            if (waiting := hand_on(payload, now_us)) is not None:
                await self._wait(*waiting)
            if self._awaited:
                for answer in self._router.adapter.answers(payload):
                    self._note_answer(answer)

    def _hand_on(self, payload: bytes, received_at_us: int) -> tuple[Frame, str | None] | None:
        """Give a frame to Kafka's client; the frame and its key come back if there is no room."""
        route = self._router.route(payload)
        if route is None:
            return None
        if route.channel is Channel.CONTROL and self._router.adapter.announces_close(payload):
            self._closing = True
        frame = Frame(payload, received_at_us, self.id, self._sequence)
        self._sequence += 1
        if self._router.producer.offer(frame, route.exchange_symbol, Origin.LIVE):
            return None
        return frame, route.exchange_symbol

    async def _wait(self, frame: Frame, key: str | None) -> None:
        """Offer a frame until there is room: meanwhile nothing is read, and TCP says so."""
        producer, status = self._router.producer, self._status
        self._blocked = True
        if status.blocked_since_us is None:
            status.blocked_since_us = time.time_ns() // 1000
        try:
            while not producer.offer(frame, key, Origin.LIVE):
                status.waits += 1
                await asyncio.to_thread(producer.wait)
        except asyncio.CancelledError:
            producer.keep(frame, key, Origin.LIVE)
            raise
        self._blocked, status.blocked_since_us = False, None

    def _note_answer(self, answer: Answer) -> None:
        key = answer.key or self._asked
        self._asked_at = time.monotonic()
        self._answered.set()
        if answer.accepted:
            self._accepted += 1
        else:
            name = key or "a subscription"
            self._status.refused[name] = answer.detail
            log.warning("%s refused %s: %s", self._router.adapter.exchange, name, answer.detail)
        self._awaited.discard(key or "")
        if self._awaited or self.stands_since is not None:
            return
        if not self._accepted:
            raise SubscriptionRefused(
                f"{self._router.adapter.exchange} refused every subscription of "
                f"{', '.join(self._symbols)}: {self._status.refused}. Are the symbols right?"
            )
        self.stands_since = time.monotonic()


async def _first_failure(tasks: set[asyncio.Task[None]]) -> None:
    """Wait until one of the tasks raises, and raise that; one that only ends is let go."""
    pending = tasks
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _done(waiter: asyncio.Future[float], within_s: float) -> bool:
    done, _ = await asyncio.wait({waiter}, timeout=within_s)
    for task in done:
        task.result()
    return bool(done)


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
