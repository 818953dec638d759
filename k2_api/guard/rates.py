"""How often a key may ask: so many requests in a window that begins with the first of them.

Counted in the memory of this process, or in a store that several share. When that store does not
answer, each process counts for itself until it does: a limit that is too lax for a while is better
than an API that answers nobody.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import cast

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, Storage
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

from k2_market.errors import UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """What is left of a rate after one more request; ``reset_s`` is until it is whole again."""

    limit: int
    remaining: int
    reset_s: int
    window_s: int
    allowed: bool

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The RateLimit headers of the answer."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_s),
            (b"ratelimit-policy", b"%d;w=%d" % (self.limit, self.window_s)),
        ]


class Rates:
    """Counts requests. ``store`` is ``memory://`` or ``redis://...``. For one event loop."""

    def __init__(self, store: str = "memory://") -> None:
        self._own = MemoryStorage()
        self._store: Storage = self._own if store == "memory://" else _shared(store)
        self._answered = True

    async def take(self, who: str, rate: str) -> Taken:
        """Count one request of ``who`` (a name for a thing that has a rate)."""
        limit = _parsed(rate)
        try:
            taken = await _take(self._store, who, limit)
        except StorageError as error:
            if self._answered:
                kind = type(error.storage_error).__name__
                logger.warning("rates are counted by this process alone: %s", kind)
            self._answered = False
            return await _take(self._own, who, limit)
        self._answered = True
        return taken


async def _take(store: Storage, who: str, limit: RateLimitItem) -> Taken:
    key, window = limit.key_for(who), limit.get_expiry()
    count = await store.incr(key, window)
    reset = max(ceil(await store.get_expiry(key) - time.time()), 0)
    left = max(limit.amount - count, 0)
    return Taken(limit.amount, left, reset, window, count <= limit.amount)


@cache
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)


def _shared(uri: str) -> Storage:
    scheme = uri.partition("://")[0]
    try:
        store = storage_from_string(f"async+{uri}", wrap_exceptions=True)
    except ConfigurationError:
        # Its message repeats the address, which may hold a password.
        raise UsageError(
            f"K2_API_RATE_STORE: {scheme!r} cannot be used. Write memory://, or redis://HOST:PORT "
            "after `pip install coredis`."
        ) from None
    return cast("Storage", store)
