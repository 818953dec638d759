"""What waits for one reader: bounded, so that a slow one costs the others nothing."""

from __future__ import annotations

import asyncio
from collections import deque

from k2_api.live.settings import LiveSettings

# Who catches up fills a queue only so far: the rest is for what happens meanwhile.
_FILL = 0.5


class Outbox:
    """A queue with one reader. It belongs to the event loop.

    Once it is closed nothing more goes in, and what waits is thrown away: ``closed`` says with
    which code and why.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._messages, self._bytes = settings.queue_messages, settings.queue_bytes
        self._waiting: deque[str] = deque()
        self._size = 0
        self._filled, self._emptied = asyncio.Event(), asyncio.Event()
        self._closed = asyncio.Event()
        self.closed: tuple[int, str] | None = None

    def offer(self, text: str) -> None:
        """Put it in, or close the outbox where there is no room."""
        if self.closed is not None:
            return
        if len(self._waiting) >= self._messages or self._size + len(text) > self._bytes:
            self.close(1013, "too_slow, resume with cursor")
            return
        self._add(text)

    async def room(self) -> None:
        """Wait until there is plenty of room, or the outbox is closed."""
        while self.closed is None and self._is_filled():
            self._emptied.clear()
            await self._emptied.wait()

    async def wait_closed(self) -> None:
        """Wait until it is closed, whatever waits in it."""
        await self._closed.wait()

    def close(self, code: int, reason: str) -> None:
        """Take nothing more and throw away what waits; the first reason stands."""
        if self.closed is None:
            self.closed = (code, reason)
            self._waiting.clear()
            self._size = 0
        for event in (self._filled, self._emptied, self._closed):
            event.set()

    async def take(self, within_s: float | None = None) -> str | None:
        """The next text, None once closed. Raises TimeoutError after ``within_s``."""
        async with asyncio.timeout(within_s):
            while not self._waiting:
                if self.closed is not None:
                    return None
                self._filled.clear()
                await self._filled.wait()
        text = self._waiting.popleft()
        self._size -= len(text)
        if not self._is_filled():
            self._emptied.set()
        return text

    def _add(self, text: str) -> None:
        self._waiting.append(text)
        self._size += len(text)
        self._filled.set()

    def _is_filled(self) -> bool:
        return len(self._waiting) >= self._messages * _FILL or self._size >= self._bytes * _FILL
