"""The hub: takes what the tail gives and hands it to every stream that wants it, waiting for none.

Rows are made into text in a thread, in the order in which they came; everything else happens on the
event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
import pyarrow as pa

from k2_api.guard.refusals import Overloaded, Refusal
from k2_api.live.candle_rows import CandleRows
from k2_api.live.candle_stream import CandleStream
from k2_api.live.candles import Candles
from k2_api.live.catching_up import CatchingUp
from k2_api.live.connection import Client, Connection
from k2_api.live.history import LATER, History
from k2_api.live.names import Subject
from k2_api.live.places import to_micros
from k2_api.live.prepared import Preparing
from k2_api.live.settings import LiveSettings
from k2_api.live.source import Freshness, Source
from k2_api.live.stream import Begin, Stream
from k2_api.live.topic import AnyStream, Topic
from k2_market.kinds import Kind

# More than the tail itself holds of a topic: who is so far behind begins anew.
_MOST_WAITING = 100_000
_READERS = 4
_AGAIN_AFTER_S = 0.5
_RETRY_AFTER_S = 5
_STOP_WITHIN_S = 1.0

T = TypeVar("T")
_log = logging.getLogger(__name__)


class LiveOff(Refusal):
    """Nothing can be streamed: the API runs without Kafka, or is stopping."""

    status = 503
    code = "live_off"
    title = "Nothing is streamed now"


class Hub:
    """One for each event loop, from ``start`` to ``stop``."""

    def __init__(
        self, history: History, candles: CandleRows, tail: Source, settings: LiveSettings
    ) -> None:
        self.settings = settings
        self._candles = Candles(candles, history, self.read, settings)
        self._catch_ups = CatchingUp(history, self.read)
        self._history, self._tail = history, tail
        self._topics: dict[tuple[Kind, str], Topic] = {}
        self._preparing = Preparing(history)
        self._waiting: deque[tuple[Kind, pa.Table, int]] = deque()
        self._rows_waiting = 0
        self._came, self._left = asyncio.Event(), asyncio.Event()
        self._begun: dict[tuple[Kind, str], int] = {}
        self._keys: Counter[str] = Counter()
        self._connections: dict[Connection, None] = {}
        self._readers = anyio.CapacityLimiter(_READERS)
        self._preparer = anyio.CapacityLimiter(1)
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._unlisten: Callable[[], None] = lambda: None

    @property
    def connections(self) -> int:
        """How many readers there are."""
        return len(self._connections)

    @property
    def streams(self) -> int:
        """How many subscriptions they have together."""
        return sum(len(c.streams) for c in self._connections)

    def start(self) -> None:
        """Listen to the tail; called on the event loop."""
        loop = asyncio.get_running_loop()

        def listener(kind: Kind, rows: pa.Table) -> None:
            begun = self._tail.begun(kind, str(rows["exchange"][0]))
            loop.call_soon_threadsafe(self._arrived, kind, rows, begun)

        self._unlisten = self._tail.listen(listener)
        self._spawn(self._pump())
        self._spawn(self._watch())
        self._spawn(self._candles.run())

    async def stop(self) -> None:
        """Close all connections with 1001, wait until they know, and end."""
        self._stopping = True
        self._unlisten()
        self._unlisten = lambda: None
        for connection in list(self._connections):
            connection.outbox.close(1001, "server_stopping, resume with cursor")
        with anyio.move_on_after(_STOP_WITHIN_S):
            while self._connections:
                self._left.clear()
                await self._left.wait()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def connected(self, key: str, client: Client) -> Iterator[Connection]:
        """A connection of that key, which leaves nothing behind.

        Raises Overloaded, LiveOff.
        """
        self._require_room(key)
        connection = Connection(key, self.settings, client, self._catching_up)
        self._connections[connection] = None
        self._keys[key] += 1
        try:
            yield connection
        finally:
            self.leave(connection)
            del self._connections[connection]
            self._keys[key] -= 1
            self._keys += Counter()
            self._left.set()

    def leave(self, connection: Connection) -> None:
        """End all streams of the connection, which is about to close."""
        for stream in list(connection.streams):
            self.end(connection, stream)

    async def topic(self, kind: Kind, exchange: str) -> Topic:
        """The topic, with a position. Raises LakeUnavailable."""
        topic = self._topics.setdefault((kind, exchange), Topic(kind, exchange))
        if topic.based_at is None:
            base = await self.read(self._history.end, kind, exchange)
            if topic.based_at is None:
                topic.base(base)
        return topic

    def begin(
        self,
        connection: Connection,
        topic: Topic,
        about: Subject,
        symbols: frozenset[str],
        begin: Begin,
    ) -> AnyStream:
        """A stream of that channel, of these symbols; of candles, of one symbol alone."""
        stream: AnyStream
        if about.grain is None:
            stream = Stream(topic, symbols, connection, begin)
        else:
            now = to_micros(datetime.now(UTC))
            stream = CandleStream(topic, about.symbol, about.grain, connection, begin, now)
            self._candles.add(stream)
        self._add(connection, stream)
        return stream

    def _add(self, connection: Connection, stream: AnyStream) -> None:
        connection.streams[stream] = None
        stream.topic.add(stream)
        if not stream.is_live:
            connection.catch_up(stream)

    def end(self, connection: Connection, stream: AnyStream) -> None:
        """Send the stream nothing more."""
        if isinstance(stream, CandleStream):
            self._candles.remove(stream)
        stream.topic.remove(stream)
        connection.forget(stream)

    def freshness(self, kind: Kind, exchange: str) -> Freshness:
        """How fresh what is streamed is. Raises LiveOff where nothing ever is."""
        found = self._tail.state(kind, [exchange])
        if found.tail == "off":
            raise LiveOff(
                "the API runs without Kafka, so nothing comes in. /v1/replay has what the tables "
                "hold.",
                {"Retry-After": "60"},
            )
        return found

    async def read(self, call: Callable[..., T], *arguments: object) -> T:
        """Run what blocks in a thread; only so many at once."""
        return await anyio.to_thread.run_sync(partial(call, *arguments), limiter=self._readers)

    def _require_room(self, key: str) -> None:
        if self._stopping:
            raise LiveOff("the server is stopping. Connect again.", {"Retry-After": "1"})
        if len(self._connections) >= self.settings.connections:
            raise Overloaded(
                f"{len(self._connections)} live connections are open, the most that this server "
                "keeps. Try again later.",
                _RETRY_AFTER_S,
            )
        if self._keys[key] >= self.settings.connections_of_key:
            raise Overloaded(
                f"this key has {self._keys[key]} live connections open, the most of one key. Close "
                "one: a connection can hold several subscriptions.",
                _RETRY_AFTER_S,
            )

    def _arrived(self, kind: Kind, rows: pa.Table, begun: int) -> None:
        if self._rows_waiting > _MOST_WAITING:
            self._waiting.clear()
            self._rows_waiting = 0
            for topic in self._topics.values():
                topic.interrupted()
        self._waiting.append((kind, rows, begun))
        self._rows_waiting += rows.num_rows
        self._came.set()

    async def _pump(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                await self._take(*self._waiting.popleft())

    async def _take(self, kind: Kind, rows: pa.Table, begun: int) -> None:
        self._rows_waiting -= rows.num_rows
        exchange = str(rows["exchange"][0])
        topic = self._topics.setdefault((kind, exchange), Topic(kind, exchange))
        self._see_begun(topic, begun)
        asked = (kind, exchange, rows, topic.wanted, topic.position)
        prepare = partial(self._preparing.prepare, *asked)
        try:
            arrived = await anyio.to_thread.run_sync(prepare, limiter=self._preparer)
        except LATER as error:
            _log.warning("what came is read again from the table: %s", error)
            topic.interrupted()
        except Exception:  # noqa: BLE001
            # The outermost loop of all live streams: those of other topics go on.
            _log.exception("what came could not be sent; it is read again from the table")
            topic.interrupted()
        else:
            topic.take(arrived)

    def _see_begun(self, topic: Topic, begun: int) -> None:
        known = self._begun.setdefault((topic.kind, topic.exchange), begun)
        if known != begun:
            self._begun[topic.kind, topic.exchange] = begun
            topic.interrupted()

    async def _watch(self) -> None:
        """See whether the tail began anew though nothing came since, and how fresh it is."""
        while True:
            await asyncio.sleep(_AGAIN_AFTER_S)
            for topic in self._topics.values():
                if not self._waiting:
                    self._see_begun(topic, self._tail.begun(topic.kind, topic.exchange))
                self._see_freshness(topic)

    def _see_freshness(self, topic: Topic) -> None:
        now = self._tail.state(topic.kind, [topic.exchange])
        before, topic.tail = topic.tail, now.tail
        if before in (None, now.tail):
            return
        for connection in {s.sink: None for s in topic.streams}:
            connection.tell(
                "freshness", channel=topic.channel, exchange=topic.exchange, freshness=now
            )

    def _catching_up(self, stream: AnyStream) -> asyncio.Task[None]:
        if isinstance(stream, CandleStream):
            return self._spawn(self._candles.catch_up(stream))
        return self._spawn(self._catch_ups.catch_up(stream))

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a live stream failed", exc_info=task.exception())
