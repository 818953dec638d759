"""Reads for a stream what it missed, page by page, until it is live."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from k2_api.live.history import LATER, Found, History
from k2_api.live.stream import Stream

Read = Callable[..., Awaitable[Any]]

PAGE = 2_000
_AGAIN_AFTER_S = 0.5


class CatchingUp:
    """It belongs to the event loop; ``read`` runs what blocks in a thread."""

    def __init__(self, history: History, read: Read) -> None:
        self._history, self._read = history, read

    async def catch_up(self, stream: Stream) -> None:
        """Send what came behind the stream's position, until nothing is missing."""
        while True:
            stream.hold()
            found = await self._after(stream)
            if found is not None and _is_whole(stream, found) and stream.finish():
                return
            if found is None or not found.passed:
                await asyncio.sleep(_AGAIN_AFTER_S)

    async def _after(self, stream: Stream) -> Found | None:
        """Send the next page of what came after the stream's position; None if it cannot be."""
        wanted, until = stream.wanted, None
        if stream.ahead is not None:
            symbol, until = stream.ahead
            wanted = replace(wanted, symbols=frozenset(s for s in wanted.symbols if s > symbol))
        try:
            asked = (wanted, stream.position, PAGE, until)
            found: Found = await self._read(self._history.after, *asked)
        except LATER:
            return None
        await stream.send(found.rows, found.passed, until)
        return found if until is None else None


def _is_whole(stream: Stream, found: Found) -> bool:
    """Whether the stream has had all that came until lately."""
    if found.freshness.tail == "off":
        return True
    since = stream.end or stream.topic.based_at
    through = found.freshness.through
    return found.whole and through is not None and (since is None or through >= since)
