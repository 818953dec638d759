"""How many requests are in work at once, of all keys and of each; and how many exports.

A request that finds no place is refused at once, because a queue that grows answers nobody in time.
A key never gets all places: who asks too much at once slows down nobody but itself.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from k2_api.guard.refusals import Overloaded

PLACES, OF_A_KEY = 200, 100
# Each holds some tens of MB, for as long as its reader takes.
EXPORTS, EXPORTS_OF_A_KEY = 16, 8
RETRY_S = 1
AVERAGED_OVER_S = 2.0


class Places:
    """Counts what is in work; ``what`` names it. Safe to use from several threads."""

    def __init__(
        self, places: int = PLACES, of_a_key: int = OF_A_KEY, what: str = "requests"
    ) -> None:
        self._places, self._of_a_key, self._what = places, of_a_key, what
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._total = 0
        self._average, self._at = 0.0, time.monotonic()

    @contextmanager
    def place(self, key: str) -> Iterator[None]:
        """A place for a request of ``key`` while it is in work. Raises Overloaded."""
        with self._lock:
            self._require_room(key)
            self._count(key, 1)
        try:
            yield
        finally:
            with self._lock:
                self._count(key, -1)

    @property
    def taken(self) -> int:
        """How many requests are in work now."""
        return self._total

    def load(self) -> float:
        """The share of places that are taken, averaged over some seconds."""
        return self._settled(time.monotonic()) / self._places

    def _require_room(self, key: str) -> None:
        if self._total >= self._places:
            told = f"the API works on {self._total} {self._what} at once"
        elif self._taken[key] >= self._of_a_key:
            told = f"the API works on {self._taken[key]} {self._what} of your key at once"
        else:
            return
        raise Overloaded(
            f"{told}, and takes no more. Ask again in a moment, and for less at once.", RETRY_S
        )

    def _count(self, key: str, by: int) -> None:
        now = time.monotonic()
        self._average, self._at = self._settled(now), now
        self._total += by
        self._taken[key] += by
        if not self._taken[key]:
            del self._taken[key]

    def _settled(self, now: float) -> float:
        share = math.exp((self._at - now) / AVERAGED_OVER_S)
        return self._average * share + self._total * (1 - share)
