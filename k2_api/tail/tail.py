"""The tail: what came to Kafka and is in no table yet, held in memory and joined to the tables.

One thread follows the raw topics from the seams of gold on, parses what comes with the functions
that silver uses, and lets go of rows once a table has them. Whatever goes wrong, it says so in its
freshness and begins anew at the seams.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime

import pyarrow as pa
from pyiceberg.table import Table

from k2_api.reading.reader import LakeReader
from k2_api.tail.following import Following
from k2_api.tail.freshness import OFF, SWITCHED_OFF, Freshness, Standing, freshness
from k2_api.tail.seams import Seams
from k2_api.tail.strand import Strand
from k2_api.tail.view import TailView, opened_view
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.follow import TopicsFollower
from k2_lake.retained import Retained
from k2_market.errors import LakeUnavailable, LogError
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind

AGAIN_AFTER_S = 1.0

Listener = Callable[[Kind, pa.Table], None]
_log = logging.getLogger(__name__)


class Tail:
    """Follows Kafka from ``start`` to ``stop``; all else is safe to use from several threads.

    ``kafka`` tells where Kafka is now, None where there is none: the embedded broker has another
    address at every start.
    """

    def __init__(self, reader: LakeReader, kafka: Callable[[], KafkaSettings | None]) -> None:
        self._kafka, self._guard = kafka, reader.guard
        self._is_off = True
        self._seams = {kind: Seams(reader, kind) for kind in Kind}
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()
        # Whoever remembers a revision must not meet it again, in another process either.
        revisions = itertools.count(secrets.randbits(60))
        self._strands = {
            (kind, exchange): Strand(kind, exchange, lambda: next(revisions))
            for kind in Kind
            for exchange in EXCHANGES
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k2-tail", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._is_off = self._kafka() is None
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it; a tail is not started again."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def state(self, kind: Kind, exchanges: Iterable[str] | None = None) -> Freshness:
        """How fresh that kind is, of these exchanges or all."""
        if self._is_off:
            return OFF
        names = EXCHANGES if exchanges is None else exchanges
        standings = {e: self._strands[kind, e].held.standing for e in names}
        return freshness(standings, datetime.now(UTC))

    def revision(self, kind: Kind, exchange: str) -> int:
        """Grows with every batch taken in and every move of the seam."""
        return self._strands[kind, exchange].held.revision

    def begun(self, kind: Kind, exchange: str) -> int:
        """How often it began at a seam: rows between two beginnings may be in the table alone."""
        return self._strands[kind, exchange].begun

    def mark(self, kind: Kind) -> int:
        """Grows when what is held of that kind changes."""
        return max(s.held.revision for (k, _), s in self._strands.items() if k is kind)

    def view(
        self, kind: Kind, table: Table | None, exchanges: Iterable[str] | None = None
    ) -> TailView:
        """What that state of the table lacks, of these exchanges or all, fixed as it is now."""
        if self._is_off:
            return TailView(kind, OFF, {}, Retained())
        if not self._guard.levels.allows("tail"):
            return TailView(kind, SWITCHED_OFF, {}, Retained())
        names = EXCHANGES if exchanges is None else exchanges
        joints = self._seams[kind].of(table)
        held = {e: self._strands[kind, e].held for e in names}
        return opened_view(kind, joints, held, datetime.now(UTC))

    def rows(
        self,
        kind: Kind,
        table: Table | None,
        exchanges: Iterable[str] | None = None,
        symbols: Collection[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """The rows of ``view`` in that range; some of them the table may have nevertheless."""
        return self.view(kind, table, exchanges).rows(symbols, start, end)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` in the tail's thread with rows as they come; returns how to end it.

        Each row is given once, also where the tail begins anew. A listener must be quick, and what
        it raises ends the following until the next attempt.
        """
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def unlisten() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return unlisten

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except (LogError, LakeUnavailable) as error:
                self._stand_down(str(error))
            except Exception:  # noqa: BLE001
                # The outermost loop of this thread: the API goes on with the tables alone.
                _log.exception("the tail failed and begins anew")
                self._stand_down("the tail failed and begins anew; the server's log says why")
            self._stopped.wait(AGAIN_AFTER_S)
        self._stand_down("the tail was stopped")

    def _follow(self) -> None:
        """Until stopped, until Kafka has another address, or until something fails."""
        settings = self._kafka()
        self._is_off = settings is None
        if settings is None:
            return
        with TopicsFollower(settings) as follower:
            following = Following(follower, self._seams, self._strands, embedded=settings.embedded)
            with self._guard.breakers.kafka.guarding():
                self._go_on(following)
            while not self._stopped.is_set():
                if following.is_time_to_look and self._kafka() != settings:
                    return
                self._go_on(following)

    def _go_on(self, following: Following) -> None:
        for kind, rows in following.go_on(self._stopped):
            self._tell(kind, rows)

    def _tell(self, kind: Kind, rows: pa.Table) -> None:
        for listener in self._listeners:
            listener(kind, rows)

    def _stand_down(self, why: str) -> None:
        for strand in self._strands.values():
            strand.stand(Standing(why))
