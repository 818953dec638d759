"""What one query may cost, and how many run at once.

| bound                  | value                                        | beyond it                |
| ---------------------- | -------------------------------------------- | ------------------------ |
| time of a query        | 10 s (K2_API_TIMEOUT_S), then interrupted    | 503 timeout              |
| memory of all queries  | 1 GB (K2_API_MEMORY), DuckDB's own threads   | 413 too_large            |
| queries at once        | two for each core, half of them of one key   | waits for its turn       |
| waiting for a turn     | as long as a query may take                  | 503 overloaded           |
| requests in work       | 200, half of them of one key (``places``)    | 503 overloaded, at once  |
| body, path and query   | 64 KiB, 8 KiB (``sizes``)                    | 413 too_large, 414       |
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import duckdb

from k2_api.guard.refusals import Overloaded, TimedOut
from k2_market.errors import LakeUnavailable, TooLarge

LOOKED_EVERY_S = 0.1
INTERRUPTED_EVERY_S, ENDED_WITHIN_S = 0.01, 2.0
RETRY_S = 5

ASKING: ContextVar[str] = ContextVar("asking", default="")
"""The id of the key whose request this is; threads that work for it have it as well."""


class Budget:
    """Bounds the queries of one database; safe to use from several threads.

    ``memory`` is as DuckDB writes it, for all queries together.
    """

    def __init__(
        self, timeout_s: float = 10.0, memory: str = "1GB", at_once: int | None = None
    ) -> None:
        cores = os.cpu_count() or 1
        self.timeout_s, self.memory, self.threads = timeout_s, memory, cores
        self.at_once = at_once or max(2 * cores, 4)
        self._turns = _Turns(self.at_once)
        self._watch = _Watch()

    def stop(self) -> None:
        """Interrupt whatever runs, and wait until it has ended: the API ends."""
        self._watch.interrupt_all()

    @contextmanager
    def spent_on(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Run a query on ``cursor`` within, and take its rows.

        Raises TimedOut when it is interrupted, TooLarge when memory does not do, and Overloaded
        when its turn does not come.
        """
        with self._turns.turn(ASKING.get(), self.timeout_s):
            watched = self._watch.begin(cursor, self.timeout_s)
            try:
                yield
            except duckdb.OutOfMemoryException as error:
                raise TooLarge(
                    f"the query needs more than {self.memory} of memory. Narrow the range, or name "
                    "an exchange and a symbol."
                ) from error
            except (duckdb.Error, LakeUnavailable) as error:
                if not watched.interrupted:
                    raise
                raise TimedOut(
                    f"the query took more than {self.timeout_s:g} s and was stopped. Narrow the "
                    "range, or name an exchange and a symbol.",
                    RETRY_S,
                ) from error
            finally:
                self._watch.end(watched)


class _Turns:
    """So many at once, and half of them of one key."""

    def __init__(self, at_once: int) -> None:
        self._at_once, self._of_a_key = at_once, max(at_once // 2, 1)
        self._running: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, key: str, within_s: float) -> Iterator[None]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(key), within_s):
                raise Overloaded(
                    f"no turn came within {within_s:g} s, because too many queries run. "
                    "Ask again in a moment, and less at once.",
                    RETRY_S,
                )
            self._running[key] += 1
        try:
            yield
        finally:
            with self._changed:
                self._running[key] -= 1
                if not self._running[key]:
                    del self._running[key]
                self._changed.notify_all()

    def _has_room(self, key: str) -> bool:
        return self._running.total() < self._at_once and self._running[key] < self._of_a_key


class _Watched:
    def __init__(self, cursor: duckdb.DuckDBPyConnection, until: float) -> None:
        self.cursor, self.until, self.interrupted = cursor, until, False


class _Watch:
    """One thread that interrupts what takes too long: a timer each would cost more than a query."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[_Watched] = set()
        self._thread: threading.Thread | None = None

    def begin(self, cursor: duckdb.DuckDBPyConnection, timeout_s: float) -> _Watched:
        watched = _Watched(cursor, time.monotonic() + timeout_s)
        with self._lock:
            self._running.add(watched)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
                self._thread.start()
        return watched

    def end(self, watched: _Watched) -> None:
        with self._lock:
            self._running.discard(watched)

    def interrupt_all(self) -> None:
        until = time.monotonic() + ENDED_WITHIN_S
        while time.monotonic() < until:
            with self._lock:
                if not self._running:
                    return
                _interrupt(self._running)
            time.sleep(INTERRUPTED_EVERY_S)

    def _look(self) -> None:
        while True:
            time.sleep(LOOKED_EVERY_S)
            with self._lock:
                if not self._running:
                    self._thread = None
                    return
                now = time.monotonic()
                # Within the lock: a cursor that has ended is not interrupted in its next query.
                _interrupt(w for w in self._running if w.until <= now)


def _interrupt(running: Iterable[_Watched]) -> None:
    for watched in running:
        watched.interrupted = True
        watched.cursor.interrupt()
