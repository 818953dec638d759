"""How far tables are behind their feeds, measured for ``/health`` at most every five seconds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pyiceberg.table import Table

from k2_api.guard.refusals import BreakerOpen
from k2_api.reading.reader import LakeReader
from k2_feeds.kafka.broker import settings_here
from k2_feeds.kafka.look import Held, TopicsLook
from k2_feeds.kafka.topics import raw_topic
from k2_lake.bronze import position
from k2_lake.quality.freshness import Freshness, freshness
from k2_lake.tables import bronze_name
from k2_market.errors import LogError
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind

_MEASURED_EVERY_S = 5.0
_ANSWER_S = 1.0


class Lags:
    """The freshness of tables; safe to use from several threads."""

    def __init__(self, reader: LakeReader, home: Path) -> None:
        self._reader, self._home = reader, home
        self._lock = threading.Lock()
        self._measured: dict[str, Freshness] = {}
        self._again_at = 0.0

    def by_table(self) -> dict[str, Freshness]:
        """By name, of every table that has an SLO. Raises LakeUnavailable.

        Without an answer of Kafka bronze tables are left out, and the others are as late as the
        lake itself can tell.
        """
        with self._lock:
            if time.monotonic() >= self._again_at:
                self._measured = self._measure()
                self._again_at = time.monotonic() + _MEASURED_EVERY_S
            return self._measured

    def _measure(self) -> dict[str, Freshness]:
        tables = self._reader.tables()
        waiting = self._in_kafka(tables)
        states = freshness(tables.get, waiting or {}, datetime.now(UTC))
        return {
            s.table: s for s in states if waiting is not None or not s.table.startswith("bronze.")
        }

    def _in_kafka(self, tables: Mapping[str, Table]) -> dict[str, datetime] | None:
        """Since when frames wait that bronze lacks; None where no Kafka answers."""
        kafka = settings_here(os.environ, self._home)
        if kafka is None:
            return None
        names = {raw_topic(kind, e): bronze_name(e, kind) for e in EXCHANGES for kind in Kind}
        held = {topic: _held(tables.get(name)) for topic, name in names.items()}
        try:
            breaker = self._reader.guard.breakers.kafka
            with breaker.guarding(), TopicsLook(kafka, answer_within_s=_ANSWER_S) as look:
                return {names[topic]: at for topic, at in look.waiting_since(held).items()}
        except (LogError, BreakerOpen):
            return None


def _held(table: Table | None) -> Held:
    at = None if table is None else position(table)
    return Held("", {}) if at is None else Held(at.cluster_id, at.offsets)
