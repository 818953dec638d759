"""Live feeds of several exchanges in one process, until it is told to stop.

Each session has its own producer; one that fails does not take the others with it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random

from k2_feeds.adapter import Adapter
from k2_feeds.backlog import Backlog
from k2_feeds.kafka import KafkaSettings
from k2_feeds.liveness import backoff
from k2_feeds.producer import DELIVERY_TIMEOUT_S, FrameProducer
from k2_feeds.router import FrameRouter
from k2_feeds.session import Session
from k2_market.errors import K2Error, LogError

_POLL_EVERY_S = 0.1

log = logging.getLogger(__name__)

# The next offsets of the raw topic that bronze has committed, by partition.
Committed = Callable[[], Mapping[int, int]]


@dataclass(frozen=True)
class Plan:
    """One session: canonical symbols of an exchange; ``endpoint`` replaces the exchange's own."""

    adapter: Adapter
    symbols: tuple[str, ...]
    endpoint: str | None = None


class Feed:
    """The sessions of one plan, begun again with a new producer when Kafka was away.

    ``committed`` paces it on bronze, for a broker that forgets; None where Kafka keeps everything.
    """

    def __init__(
        self,
        plan: Plan,
        settings: KafkaSettings,
        committed: Committed | None,
        *,
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
    ) -> None:
        self.plan = plan
        self.failure: K2Error | None = None
        self.outages = 0
        self._settings, self._committed = settings, committed
        self._delivery_timeout_s = delivery_timeout_s
        self._begin()

    @property
    def status(self) -> dict[str, object]:
        """Counters for people and metrics; ``failure`` is None while it runs."""
        return {
            "connected": self._session.connected,
            **asdict(self._session.status),
            "channels": {str(channel): n for channel, n in self._router.counts.items()},
            "acknowledged": sum(self._producer.acknowledged.values()),
            "outages": self.outages,
            "failure": None if self.failure is None else str(self.failure),
        }

    async def run(self) -> None:
        """Run until cancelled, then flush. Raises what cannot be helped by trying again."""
        delays = backoff(Random())
        while True:
            try:
                await self._run_once()
            except LogError as error:
                if not error.retryable:
                    raise
                self.outages += 1
                delay_s = next(delays)
                log.error("%s: %s; again in %.1f s", self.plan.adapter.exchange, error, delay_s)
                await asyncio.sleep(delay_s)
                self._begin()

    def _begin(self) -> None:
        adapter = self.plan.adapter
        self._producer = FrameProducer(
            self._settings,
            adapter.exchange,
            backlog=None if self._committed is None else Backlog(self._committed),
            delivery_timeout_s=self._delivery_timeout_s,
        )
        self._router = FrameRouter(adapter, self._producer)
        self._session = Session(self._router, self.plan.symbols, self.plan.endpoint)

    async def _run_once(self) -> None:
        """Session and delivery reports side by side; the first to fail ends both."""
        tasks = [asyncio.create_task(self._session.run()), asyncio.create_task(self._poll())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except asyncio.CancelledError:
            await _end(tasks)
            await asyncio.to_thread(self._producer.flush)
            raise
        finally:
            await _end(tasks)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_EVERY_S)
            self._producer.poll()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_feeds(feeds: Sequence[Feed], *, stop: asyncio.Event | None = None) -> None:
    """Run feeds until ``stop`` is set, SIGTERM or SIGINT comes, or the last of them has failed.

    What was received by then is flushed. ``stop`` None means that signals alone stop it. Raises
    the failure of a feed only when all of them failed.
    """
    stop = stop or _on_signals()
    stopping = asyncio.create_task(stop.wait())
    running = {asyncio.create_task(feed.run()): feed for feed in feeds}
    while running and not stopping.done():
        done, _ = await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in running if task in done]:
            _note_failure(running.pop(task), task)
    stopping.cancel()
    await _end(list(running))
    failures = [feed.failure for feed in feeds if feed.failure is not None]
    if len(failures) == len(feeds) and failures:
        raise failures[0]


def _note_failure(feed: Feed, task: asyncio.Task[None]) -> None:
    """Keep an expected error as the feed's end; a bug is raised."""
    try:
        task.result()
    except K2Error as error:
        feed.failure = error
        log.error("%s has ended: %s", feed.plan.adapter.exchange, error)


def _on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop
