"""One reader: its queue, its streams, and what reads history for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from k2_api.answers.messages import told
from k2_api.live.messages import Message
from k2_api.live.outbox import Outbox
from k2_api.live.settings import LiveSettings
from k2_api.live.topic import AnyStream


class Client(Protocol):
    """How a protocol writes what is sent."""

    def written(self, message: Message) -> str:
        """Rows."""

    def notice(self, kind: str, text: str) -> str:
        """A message without rows."""

    def ended(self, connection: Connection, stream: AnyStream) -> None:
        """All of the stream's range was sent."""


class Connection:
    """Where the messages of its streams go; it belongs to the event loop.

    ``work`` begins to read history for a stream.
    """

    def __init__(
        self,
        key: str,
        settings: LiveSettings,
        client: Client,
        work: Callable[[AnyStream], asyncio.Task[None]],
    ) -> None:
        self.key = key
        self.outbox = Outbox(settings)
        self.streams: dict[AnyStream, None] = {}
        self._client, self._work = client, work
        self._working: dict[AnyStream, asyncio.Task[None]] = {}

    def offer(self, message: Message) -> None:
        """Send rows, or close the connection where there is no room."""
        self.outbox.offer(self._client.written(message))

    async def put(self, message: Message) -> None:
        """Wait for room and send rows."""
        text = self._client.written(message)
        await self.outbox.room()
        self.outbox.offer(text)

    def tell(self, kind: str, **said: object) -> None:
        """Send a message without rows."""
        self.outbox.offer(self._client.notice(kind, told(kind, **said)))

    def catch_up(self, stream: AnyStream) -> None:
        """Have history read for the stream, unless it is being read."""
        running = self._working.get(stream)
        if stream in self.streams and (running is None or running.done()):
            task = self._working[stream] = self._work(stream)
            task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        # Without what was to be read the stream would have a hole: it begins again elsewhere.
        if not task.cancelled() and task.exception() is not None:
            self.outbox.close(1011, "internal_error, resume with cursor")

    def ended(self, stream: AnyStream) -> None:
        """All of the stream's range was sent."""
        self._client.ended(self, stream)

    def forget(self, stream: AnyStream) -> None:
        """The stream has ended."""
        self.streams.pop(stream, None)
        running = self._working.pop(stream, None)
        if running is not None and running is not asyncio.current_task():
            running.cancel()
