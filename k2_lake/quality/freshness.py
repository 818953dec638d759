"""How far behind each table is: the age of the oldest thing that it should hold and does not.

A market that is silent is not late: where nothing waits, the lag is zero. What waits is looked for
from Kafka downwards, so that a table is as late as whatever it is made from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyiceberg.conversions import from_bytes
from pyiceberg.table import Table
from pyiceberg.types import TimestamptzType

from k2_lake.history import Change, Consumed, Mode, changes_since, consumed, lineage
from k2_lake.scan import appended
from k2_lake.tables import (
    GAPS_TABLE,
    TABLES,
    bronze_name,
    candle_name,
    gold_name,
    name_of,
    silver_name,
)
from k2_market.errors import InvariantBroken
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES

# What came over a tape or an archive was received long ago; it waits since it was committed.
LIVE = timedelta(hours=1)
# When a row of a table arrived: in Kafka or, after parsing, at the feed.
_ARRIVAL = ("kafka_timestamp", "ingestion_timestamp")

# Seconds within which a table shall have what its feed has sent; no candle waits for quotes.
SLO_S: dict[str, int] = {
    **{bronze_name(e, kind): 30 * (1 + (kind is Kind.QUOTES)) for e in EXCHANGES for kind in Kind},
    **{silver_name(e, kind): 45 * (1 + (kind is Kind.QUOTES)) for e in EXCHANGES for kind in Kind},
    **{gold_name(kind): 60 * (1 + (kind is Kind.QUOTES)) for kind in Kind},
    **{candle_name(name): 60 if frame.source is None else 90 for name, frame in TIMEFRAMES.items()},
    GAPS_TABLE: 120,
}


@dataclass(frozen=True)
class Freshness:
    """How far a table is behind, in seconds, and how far it may be.

    ``waiting_since`` is when the oldest thing arrived that the table lacks, None where nothing
    waits; the lag then is 0.
    """

    table: str
    slo_s: int
    lag_s: float
    waiting_since: datetime | None

    @property
    def late(self) -> bool:
        """Whether it is further behind than it may be."""
        return self.lag_s > self.slo_s


def freshness(
    existing: Callable[[str], Table | None], in_kafka: Mapping[str, datetime], now: datetime
) -> list[Freshness]:
    """The state of every table that has an SLO.

    ``existing`` gives a table as it is now; ``in_kafka`` says of bronze tables since when the
    oldest frame waits in Kafka that they lack. Raises LakeUnavailable, FileBroken.
    """
    waits = _Waits(existing, in_kafka, now)
    return [_state(name, slo, waits.since(name), now) for name, slo in SLO_S.items()]


def _state(name: str, slo: int, since: datetime | None, now: datetime) -> Freshness:
    # A clock that was set back makes nothing fresher than fresh.
    lag = 0.0 if since is None else max((now - since).total_seconds(), 0.0)
    return Freshness(name, slo, lag, since)


class _Waits:
    """Since when something waits for each table, found from Kafka downwards, each once."""

    def __init__(
        self,
        existing: Callable[[str], Table | None],
        in_kafka: Mapping[str, datetime],
        now: datetime,
    ) -> None:
        self._existing, self._now = existing, now
        self._found: dict[str, datetime | None] = dict(in_kafka)
        self._tables: dict[str, Table | None] = {}

    def since(self, name: str) -> datetime | None:
        if name not in self._found:
            waiting = [
                at
                for source in TABLES[name].made_from
                for at in (self.since(source), self._not_consumed(name, source))
                if at is not None
            ]
            self._found[name] = min(waiting, default=None)
        return self._found[name]

    def _not_consumed(self, name: str, source: str) -> datetime | None:
        """When the oldest change of the source arrived that the table lacks."""
        table, of = self._table(name), self._table(source)
        if of is None:
            return None
        done = Consumed() if table is None else consumed(table).get(source, Consumed())
        try:
            pending = done.pending(changes_since(of, done.through))
        except InvariantBroken:
            return _committed_at(lineage(of)[-1].timestamp_ms)
        # A day that has not begun is not computed yet: the clocks of exchange and host differ.
        due = [c for day, changes in pending.items() if day <= self._now.date() for c in changes]
        return _arrived(of, min(due, key=lambda c: c.sequence)) if due else None

    def _table(self, name: str) -> Table | None:
        if name not in self._tables:
            self._tables[name] = self._existing(name)
        return self._tables[name]


def _arrived(table: Table, change: Change) -> datetime:
    """When the oldest row of a change arrived, from the statistics of its files."""
    committed = _committed_at(change.snapshot.timestamp_ms)
    columns = [f for f in table.schema().fields if f.name in _ARRIVAL]
    if change.mode is not Mode.APPEND or not columns:
        return committed
    schema = TABLES[name_of(table)].schema
    field_id = columns[0].field_id
    bounds = [
        f.lower_bounds.get(field_id) for f in appended(table, [change.snapshot], schema).files
    ]
    least: list[Any] = [from_bytes(TimestamptzType(), b) for b in bounds if b is not None]
    if not least:
        return committed
    received = datetime.fromtimestamp(min(least) // 1_000_000, UTC)
    return received if committed - received < LIVE else committed


def _committed_at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
