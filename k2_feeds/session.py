"""One endless session with an exchange: connect, subscribe, hand on frames, connect again.

The same for all exchanges; what differs is in the adapter, what is decided is in ``liveness``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from k2_feeds.adapter import Answer, Channel
from k2_feeds.frame import Frame, Origin
from k2_feeds.liveness import RETRYABLE, Verdict, Vitals, backoff, judge
from k2_feeds.router import FrameRouter
from k2_market.errors import Disconnected, SubscriptionRefused

_JUDGE_EVERY_S = 0.5
_OPEN_WITHIN_S = 10.0
_PING_S = 20.0
_OVERLAP_S = 2.0  # both connections deliver for so long; the repeats are told by their trade ids
_MAX_FRAME_BYTES = 16 * 1024 * 1024
_QUEUED_FRAMES = 64  # read ahead of Kafka; beyond them TCP holds the exchange back

log = logging.getLogger(__name__)


@dataclass
class SessionStatus:
    """What a session can say of itself. ``refused``: the exchange's words by what it refused."""

    connections: int = 0
    frames: int = 0
    waits: int = 0
    last_frame_at_us: int | None = None
    last_error: str | None = None
    refused: dict[str, str] = field(default_factory=dict)


class Connection:
    """One connection: its number, its frames counted from 0, its answers still awaited."""

    def __init__(
        self, router: FrameRouter, symbols: Sequence[str], url: str, status: SessionStatus
    ) -> None:
        self.id = secrets.randbelow(2**63 - 1) + 1
        self.stands_since: float | None = None
        self._router, self._symbols, self._url, self._status = router, symbols, url, status
        self._awaited = set(router.adapter.awaited(symbols))
        self._accepted = 0
        self._sequence = 0
        self._opened_at = self._last_frame_at = time.monotonic()
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
        async with connect(
            self._url,
            open_timeout=_OPEN_WITHIN_S,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            close_timeout=1.0,
            max_size=_MAX_FRAME_BYTES,
            max_queue=_QUEUED_FRAMES,
            proxy=None if _is_loopback(self._url) else True,
        ) as socket:
            self._opened_at = self._last_frame_at = time.monotonic()
            self._status.connections += 1
            for message in self._router.adapter.subscribe(self._symbols):
                await socket.send(message)
            await self._listen(socket)

    async def _listen(self, socket: ClientConnection) -> None:
        while True:
            payload = await socket.recv(decode=False)
            self._last_frame_at = time.monotonic()
            await self._hand_on(payload, time.time_ns() // 1000)
            if self._awaited:
                for answer in self._router.adapter.answers(payload):
                    self._note_answer(answer)

    async def _hand_on(self, payload: bytes, received_at_us: int) -> None:
        self._status.frames += 1
        self._status.last_frame_at_us = received_at_us
        route = self._router.route(payload)
        if route is None:
            return
        if route.channel is Channel.CONTROL and self._router.adapter.announces_close(payload):
            self._closing = True
        frame = Frame(payload, received_at_us, self.id, self._sequence)
        self._sequence += 1
        producer = self._router.producer
        while not producer.offer(frame, route.exchange_symbol, Origin.LIVE):
            self._blocked = True
            self._status.waits += 1
            await asyncio.to_thread(producer.wait)
        self._blocked = False

    def _note_answer(self, answer: Answer) -> None:
        if answer.accepted:
            self._accepted += 1
        else:
            name = answer.key or "a subscription"
            self._status.refused[name] = answer.detail
            log.warning("%s refused %s: %s", self._router.adapter.exchange, name, answer.detail)
        self._awaited.discard(answer.key or "")
        if self._awaited or self.stands_since is not None:
            return
        if not self._accepted:
            raise SubscriptionRefused(
                f"{self._router.adapter.exchange} refused every subscription of "
                f"{', '.join(self._symbols)}: {self._status.refused}. Are the symbols right?"
            )
        self.stands_since = time.monotonic()


class Session:
    """Keeps symbols of one exchange coming until it is cancelled."""

    def __init__(
        self, router: FrameRouter, symbols: Sequence[str], endpoint: str | None = None
    ) -> None:
        self.status = SessionStatus()
        self._router, self._symbols = router, symbols
        self._exchange, self._liveness = router.adapter.exchange, router.adapter.liveness
        self._url = router.adapter.url(symbols, endpoint)
        self._random = Random(secrets.randbits(64))
        # More than one only while one connection replaces another.
        self._running: dict[asyncio.Task[None], Connection] = {}

    @property
    def connected(self) -> bool:
        """Whether frames of a subscription that stands can come."""
        return any(c.stands_since is not None for t, c in self._running.items() if not t.done())

    async def run(self) -> None:
        """Connect, and connect again, until cancelled; the sockets are closed by then.

        Raises SubscriptionRefused if the exchange accepted no symbol, LogError if Kafka failed.
        """
        delays = backoff(self._random)
        try:
            while True:
                connection = Connection(self._router, self._symbols, self._url, self.status)
                try:
                    await self._keep(connection)
                except RETRYABLE as error:
                    if connection.stands_since is not None:
                        delays = backoff(self._random)
                    await self._pause(error, next(delays))
        finally:
            await self._close(list(self._running))

    async def _keep(self, connection: Connection) -> None:
        """Run a connection until it is time to replace it; raises when it ends by itself.

        Once it has stood for a while, the one that it replaces is closed.
        """
        older = list(self._running)
        task = asyncio.create_task(connection.run())
        self._running[task] = connection
        while True:
            await asyncio.wait({task}, timeout=_JUDGE_EVERY_S)
            now = time.monotonic()
            if older and connection.stands_for(_OVERLAP_S, now):
                await self._close(older)
                older = []
            if task.done():
                del self._running[task]
                return task.result()
            verdict = judge(connection.vitals, self._liveness, now)
            if verdict is Verdict.ROTATE:
                return None
            if verdict is not Verdict.KEEP:
                await self._close([task])
                raise self._given_up(verdict, connection, now)

    async def _close(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
            self._running.pop(task, None)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _given_up(self, verdict: Verdict, connection: Connection, now: float) -> Disconnected:
        if verdict is Verdict.UNANSWERED:
            missing = ", ".join(connection.unanswered)
            return Disconnected(f"{self._exchange} has not answered the subscription of {missing}")
        silence = now - connection.vitals.last_frame_at
        return Disconnected(f"{self._exchange} has sent nothing for {silence:.0f} s")

    async def _pause(self, error: BaseException, delay_s: float) -> None:
        self.status.last_error = f"{type(error).__name__}: {error}"
        log.warning("%s: %s; next try in %.1f s", self._exchange, self.status.last_error, delay_s)
        await asyncio.sleep(delay_s)


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
