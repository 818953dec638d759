"""Live feeds of several exchanges in one process, until it is told to stop.

Each exchange has its own producer, and as many sessions as its limits make of its symbols; a
session that fails does not take the others with it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from k2_feeds.adapter import Adapter
from k2_feeds.kafka.backlog import Backlog
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.lasting import DRAIN_S, LastingProducer
from k2_feeds.kafka.memory import hold_thresholds
from k2_feeds.live.router import FrameRouter
from k2_feeds.live.session import Session, parted
from k2_market.errors import K2Error, SubscriptionRefused
from k2_market.kinds import Kind

_POLL_EVERY_S = 0.1
_TELL_BLOCKED_AFTER_US = 5_000_000
_TELL_EVERY_S = 2.0

log = logging.getLogger(__name__)

# The next offsets of the raw topic that bronze has committed, by partition.
Committed = Callable[[], Mapping[int, int]]


@dataclass(frozen=True)
class Plan:
    """What to record: one kind of data of an exchange, of canonical symbols.

    ``endpoints`` replace the exchange's own; where there are several, each stands in for the one
    before it.
    """

    adapter: Adapter
    kind: Kind
    symbols: tuple[str, ...]
    endpoints: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people: ``kraken trades``."""
        return f"{self.adapter.exchange} {self.kind}"


class Feed:
    """The sessions of one plan and the producer that they share.

    ``committed`` paces it on bronze, for a broker that forgets; None where Kafka keeps everything.
    ``home`` keeps what Kafka does not take; ``tls`` verifies the exchange.
    """

    def __init__(
        self,
        plan: Plan,
        settings: KafkaSettings,
        committed: Committed | None,
        *,
        home: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.plan = plan
        self.failure: K2Error | None = None
        adapter = plan.adapter
        self.producer = LastingProducer(
            settings,
            adapter.exchange,
            plan.kind,
            backlog=None if committed is None else Backlog(committed),
            home=home,
        )
        self._router = FrameRouter(adapter, plan.kind, self.producer)
        parts = parted(adapter, plan.symbols)
        self.sessions = [Session(self._router, part, plan.endpoints, tls) for part in parts]
        self._told_blocked = False

    @property
    def status(self) -> dict[str, object]:
        """What people and metrics want to know; ``failure`` is None while it runs.

        Of several sessions: counts are sums, ``connected`` means all, ``blocked_since_us`` is the
        earliest. ``queued`` frames wait in memory for Kafka, and ``trouble`` says what for.
        """
        states = [session.status for session in self.sessions]
        blocked = [s.blocked_since_us for s in states if s.blocked_since_us is not None]
        return {
            "connected": all(session.connected for session in self.sessions),
            "connections": sum(s.connections for s in states),
            "frames": sum(s.frames for s in states),
            "waits": sum(s.waits for s in states),
            "blocked_since_us": min(blocked, default=None),
            "last_frame_at_us": max((s.last_frame_at_us or 0 for s in states), default=0) or None,
            "last_error": next((s.last_error for s in states if s.last_error), None),
            "refused": {name: text for s in states for name, text in s.refused.items()},
            "channels": {str(channel): n for channel, n in self._router.counts.items()},
            "acknowledged": sum(self.producer.acknowledged.values()),
            "queued": self.producer.queued,
            "trouble": self.producer.trouble,
            "outages": self.producer.outages,
            "letters": self.producer.letters,
            "failure": None if self.failure is None else str(self.failure),
            "sessions": [{"symbols": len(s.symbols), **asdict(s.status)} for s in self.sessions],
        }

    async def run(self, drain_s: float = DRAIN_S) -> None:
        """Run until cancelled, then deliver what was received, or keep it for the next start.

        Raises SubscriptionRefused if the exchange accepted no symbol of any session.
        """
        polling = asyncio.create_task(self._poll())
        running = [asyncio.create_task(session.run()) for session in self.sessions]
        try:
            await self._last_failure(running)
        finally:
            self.producer.begin_stop()
            await _end([*running, polling])
            # A thread of its own: of the shared ones there are fewer than feeds that may wait.
            with ThreadPoolExecutor(1, "drain") as thread:
                stopping = asyncio.get_running_loop().run_in_executor
                await stopping(thread, self.producer.stop, drain_s)

    async def _last_failure(self, running: Sequence[asyncio.Task[None]]) -> None:
        """Wait while any session lives; no session ends without an error, the last one's is raised.

        A bug is raised at once.
        """
        for number, ended in enumerate(asyncio.as_completed(running), 1):
            try:
                await ended
            except SubscriptionRefused as error:
                if number == len(running):
                    raise
                log.error("%s: a session has ended: %s", self.plan.name, error)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_EVERY_S)
            self.producer.poll()
            self._tell_blocked()

    def _tell_blocked(self) -> None:
        """Say once that frames wait for Kafka, and once that they do no more."""
        since = [s.status.blocked_since_us for s in self.sessions if s.status.blocked_since_us]
        name = self.plan.name
        if since and not self._told_blocked:
            if time.time_ns() // 1000 - min(since) < _TELL_BLOCKED_AFTER_US:
                return
            queued, why = self.producer.queued, self.producer.trouble or "Kafka or bronze is slow"
            log.warning("%s: held back, %s frames wait for Kafka: %s", name, queued, why)
        elif self._told_blocked and not since:
            log.info("%s: Kafka takes frames again", name)
        self._told_blocked = bool(since)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_feeds(
    feeds: Sequence[Feed], *, stop: asyncio.Event | None = None, state: Path | None = None
) -> None:
    """Run feeds until ``stop`` is set, SIGTERM or SIGINT comes, or the last of them has failed.

    What was received by then is delivered, or kept on disk where Kafka does not take it. ``stop``
    None means that signals alone stop it. Raises the failure of a feed only when all of them have
    failed. ``state`` is a file that says, as JSON, what each feed says of itself.
    """
    hold_thresholds()
    stop = stop or _on_signals()
    telling = None if state is None else asyncio.create_task(_tell(feeds, state))
    stopping = asyncio.create_task(stop.wait())
    running = {asyncio.create_task(feed.run()): feed for feed in feeds}
    while running and not stopping.done():
        done, _ = await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in running if task in done]:
            _note_failure(running.pop(task), task)
    stopping.cancel()
    await _end(list(running))
    if telling is not None and state is not None:
        await _end([telling])
        _write_state(feeds, state)
    failures = [feed.failure for feed in feeds if feed.failure is not None]
    if len(failures) == len(feeds) and failures:
        raise failures[0]


def _note_failure(feed: Feed, task: asyncio.Task[None]) -> None:
    """Keep an expected error as the feed's end; a bug is raised."""
    try:
        task.result()
    except K2Error as error:
        feed.failure = error
        log.error("%s has ended: %s", feed.plan.name, error)


async def _tell(feeds: Sequence[Feed], state: Path) -> None:
    while True:
        _write_state(feeds, state)
        await asyncio.sleep(_TELL_EVERY_S)


def _write_state(feeds: Sequence[Feed], state: Path) -> None:
    told = {feed.plan.name: feed.status for feed in feeds}
    draft = state.with_suffix(".new")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(told)))
        draft.replace(state)
    except OSError as error:
        log.warning("the state of the feeds cannot be written to %s: %s", state, error.strerror)


def _on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop
