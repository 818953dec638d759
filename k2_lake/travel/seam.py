"""The seam between a table and the log: up to where in Kafka the rows of gold were made from.

Gold says how much of silver it contains, silver how much of bronze, and bronze up to which offsets
its frames reach. Followed back from one snapshot of gold, that is a place in the topic before which
nothing is missing. Behind it are rows that gold may have already, for days run ahead of each other;
keys tell those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from pyiceberg.table import Table

from k2_lake.bronze import Position
from k2_lake.history import (
    KAFKA,
    MODE,
    SOURCES,
    UNFOLLOWED,
    Consumed,
    Mode,
    commits_since,
    head_sequence,
    lineage_from_head,
    snapshot_at,
)
from k2_lake.tables import name_of
from k2_market.errors import HistoryGone, OffsetBeyondEnd


class Life(NamedTuple):
    """A topic from when it was made, of a cluster, and its epoch in the tables."""

    epoch: int
    cluster_id: str
    topic_id: str

    def is_of(self, cluster_id: str, topic_id: str) -> bool:
        """Whether that cluster has the topic as it was then; see ``Position.is_of``."""
        return Position(*self[:2], topic_id=self.topic_id).is_of(cluster_id, topic_id)


@dataclass(frozen=True)
class Seam:
    """What gold contains of one topic.

    ``at`` is where the first frame stands of which gold may lack rows, None where gold has nothing
    of the topic. ``waiting`` are the lives of the topic of which bronze holds frames behind it.
    """

    at: Position | None
    waiting: frozenset[Life]

    def start(
        self, topic: str, cluster_id: str, topic_id: str, *, new_cluster_is_expected: bool
    ) -> dict[int, int]:
        """The offsets of this life of the topic from which on its frames complete gold.

        A partition that is not named begins at 0. Raises OffsetBeyondEnd where gold lacks frames of
        another life of the topic, which no offset of this one can give.
        """
        if self.at is not None and self.at.is_of(cluster_id, topic_id):
            return dict(self.at.offsets)
        if not all(life.is_of(cluster_id, topic_id) for life in self.waiting):
            raise OffsetBeyondEnd(
                f"gold has yet to take in what bronze holds of {topic} from before the topic or "
                "its cluster was made anew. It follows with the next run."
            )
        if self.at is None or new_cluster_is_expected:
            return {}
        raise OffsetBeyondEnd(
            f"the tables hold {topic} of the cluster {self.at.cluster_id!r}, but it is now served "
            f"by {cluster_id!r} or was made anew. Check K2_KAFKA_BOOTSTRAP; to begin a new epoch: "
            "`k2 bronze new-epoch EXCHANGE --kind KIND`."
        )

    def epoch_of(self, cluster_id: str, topic_id: str) -> int:
        """The epoch that frames of this life of the topic have in the tables, or will have."""
        if self.at is not None and self.at.is_of(cluster_id, topic_id):
            return self.at.epoch
        for life in self.waiting:
            if life.is_of(cluster_id, topic_id):
                return life.epoch
        return 1 + max([0 if self.at is None else self.at.epoch, *(w.epoch for w in self.waiting)])


def seam(gold: Table | None, silver: Table | None, bronze: Table | None) -> Seam:
    """Where ``gold`` as it is now joins the topic of ``bronze``; None for a table never made.

    ``silver`` and ``bronze`` are those of one exchange, opened after ``gold``. Raises HistoryGone
    where commits between have expired, so that the place cannot be told.
    """
    if bronze is None:
        return Seam(None, frozenset())
    done = Consumed()
    if gold is not None and silver is not None:
        done = _consumed(gold, head_sequence(gold), name_of(silver))
    states = [0] if silver is None else list(_states(silver, done))
    reached = [_position(silver, bronze, at) for at in states]
    whole = [position for position, _ in reached if position is not None]
    at = None if len(whole) < len(reached) else _least(whole)
    return Seam(at, frozenset().union(*(waiting for _, waiting in reached)))


def _states(source: Table, done: Consumed) -> Iterator[int]:
    """The sequences of the states of ``source`` that were consumed.

    The newest that is contained whole, and those that some days are ahead of it: after a rollback
    of the source these may hold less.
    """
    yield _whole_up_to(source, done)
    yield from sorted(set(done.ahead.values()))


def _whole_up_to(source: Table, done: Consumed) -> int:
    """The sequence of the newest state of which everything is consumed.

    Commits without rows, such as of frames that were all acknowledgements, have nothing to consume.
    """
    if done.through > head_sequence(source):
        raise HistoryGone(
            f"{name_of(source)} ends with sequence {head_sequence(source)}, but a table made from "
            f"it has consumed it up to {done.through}. Was it restored?"
        )
    at = done.through
    for change in commits_since(source, done.through):
        gives_rows = change.mode not in UNFOLLOWED and bool(change.days)
        if gives_rows and any(change.sequence > done.of(day) for day in change.days):
            break
        at = change.sequence
    return at


def _position(
    silver: Table | None, bronze: Table, at: int
) -> tuple[Position | None, frozenset[Life]]:
    """Where in the topic that state of silver ends, and the lives that bronze holds behind."""
    done = Consumed() if silver is None else _consumed(silver, at, name_of(bronze))
    reached = _whole_up_to(bronze, done)
    behind = [c for c in commits_since(bronze, reached) if c.mode is Mode.APPEND and c.days]
    positions = [_recorded(bronze, c.sequence) for c in behind]
    lives = {Life(p.epoch, p.cluster_id, p.topic_id) for p in positions if p is not None}
    return _recorded(bronze, reached), frozenset(lives)


def _consumed(table: Table, at: int, source: str) -> Consumed:
    value = _carried(table, at, SOURCES)
    found = {} if value is None else json.loads(value)
    return Consumed.from_json(found[source]) if source in found else Consumed()


def _recorded(bronze: Table, at: int) -> Position | None:
    value = _carried(bronze, at, KAFKA)
    if value is None:
        return None
    found = json.loads(value)
    offsets = {int(p): int(o) for p, o in found["next"].items()}
    return Position(found["epoch"], found["cluster"], offsets, found.get("topic_id", ""))


def _carried(table: Table, at: int, key: str) -> str | None:
    """What the table said of its progress at that sequence, other writers passed over."""
    snapshot_at(table, at)  # raises where that state has expired
    for snapshot in lineage_from_head(table):
        summary = {} if snapshot.summary is None else snapshot.summary.additional_properties
        if (snapshot.sequence_number or 0) <= at and MODE in summary:
            return summary.get(key)
    return None


def _least(positions: list[Position]) -> Position:
    """The place before which all of them are: of the oldest epoch, the lowest offsets."""
    oldest = min(p.epoch for p in positions)
    of_it = [p for p in positions if p.epoch == oldest]
    partitions = set.intersection(*(set(p.offsets) for p in of_it))
    return replace(of_it[0], offsets={n: min(p.offsets[n] for p in of_it) for n in partitions})
