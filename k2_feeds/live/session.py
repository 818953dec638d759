"""One endless session with an exchange: connect, subscribe, hand on frames, connect again.

The same for all exchanges; what differs is in the adapter, what is decided is in ``liveness``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

from k2_feeds.adapter import Adapter
from k2_feeds.live.connection import Connection, SessionStatus
from k2_feeds.live.liveness import RETRYABLE, Verdict, asked_delay, backoff, judge
from k2_feeds.live.router import FrameRouter
from k2_market.errors import Disconnected

_JUDGE_EVERY_S = 0.5
_OVERLAP_S = 2.0  # both connections deliver for so long; the repeats are told by their trade ids
_END_WITHIN_S = 3.0

log = logging.getLogger(__name__)


class Session:
    """Keeps symbols of one exchange coming until it is cancelled.

    ``endpoints`` replace the exchange's own; where there are several, each connection that fails
    makes it try the next one. ``tls`` verifies them, the system's authorities if it is None.
    """

    def __init__(
        self,
        router: FrameRouter,
        symbols: Sequence[str],
        endpoints: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.status = SessionStatus()
        self.symbols = tuple(symbols)
        self._router, self._tls = router, tls
        self._exchange, self._liveness = router.adapter.exchange, router.adapter.liveness
        self._urls = addresses(router, symbols, endpoints)
        self._random = Random(secrets.randbits(64))
        # More than one only while one connection replaces another.
        self._running: dict[asyncio.Task[None], Connection] = {}

    @property
    def connected(self) -> bool:
        """Whether frames of a subscription that stands can come."""
        return any(c.stands_since is not None for t, c in self._running.items() if not t.done())

    async def run(self) -> None:
        """Connect, and connect again, until cancelled; the sockets are closed by then.

        Raises SubscriptionRefused if the exchange accepted no symbol.
        """
        delays, turn = backoff(self._random), 0
        try:
            while True:
                self.status.url = self._urls[turn % len(self._urls)]
                connection = Connection(
                    self._router, self.symbols, self.status.url, self.status, self._tls
                )
                try:
                    await self._keep(connection)
                except RETRYABLE as error:
                    if connection.stands_since is not None:
                        delays = backoff(self._random)
                    else:
                        turn += 1
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
        """End connections: what the exchange sent before it heard of it is still handed on."""
        closing = [self._running[task].close() for task in tasks if task in self._running]
        ended = asyncio.gather(*closing, *tasks, return_exceptions=True)
        await asyncio.wait({ended}, timeout=_END_WITHIN_S)
        for task in tasks:
            task.cancel()
            self._running.pop(task, None)
        await asyncio.gather(ended, *tasks, return_exceptions=True)

    def _given_up(self, verdict: Verdict, connection: Connection, now: float) -> Disconnected:
        if verdict is Verdict.UNANSWERED:
            missing = ", ".join(connection.unanswered)
            return Disconnected(f"{self._exchange} has not answered the subscription of {missing}")
        silence = now - connection.vitals.last_frame_at
        return Disconnected(f"{self._exchange} has sent nothing for {silence:.0f} s")

    async def _pause(self, error: BaseException, delay_s: float) -> None:
        delay_s = max(delay_s, asked_delay(error, datetime.now(UTC)))
        self.status.last_error = _told(error, self.status.url)
        log.warning("%s: %s; next try in %.1f s", self._exchange, self.status.last_error, delay_s)
        await asyncio.sleep(delay_s)


def addresses(router: FrameRouter, symbols: Sequence[str], endpoints: Sequence[str]) -> list[str]:
    """Where to connect to, in the order to try: the given endpoints, else the exchange's own."""
    adapter, kind = router.adapter, router.kind
    if endpoints:
        return [adapter.url(symbols, kind, endpoint) for endpoint in endpoints]
    own = adapter.url(symbols, kind)
    path = own.removeprefix(adapter.endpoint)
    return [own, *(backup + path for backup in adapter.backups)]


def parted(adapter: Adapter, symbols: Sequence[str]) -> list[tuple[str, ...]]:
    """The symbols by connection: no more on one than the exchange allows."""
    size = adapter.limits.streams or len(symbols) or 1
    return [tuple(symbols[at : at + size]) for at in range(0, len(symbols), size)]


def _told(error: BaseException, url: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {url} was not accepted: {error.verify_message}. If its authority "
            "is your own, name it in K2_CA_FILE"
        )
    return f"{type(error).__name__}: {error}"
