"""One connection to Kafka: topics joined at their seams, batches parsed and taken in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from k2_api.tail.freshness import Standing
from k2_api.tail.seams import Joints, Seams
from k2_api.tail.strand import MAX_ROWS, Strand
from k2_feeds.kafka.follow import Batch, Cluster, TopicsFollower
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.parsing.frames import parse
from k2_lake.aggregates import has_aggregated
from k2_lake.bronze import of_epoch
from k2_lake.travel.seam import Seam
from k2_market.errors import BrokerUnavailable, LogError
from k2_market.kinds import Kind

LOOK_EVERY_S = 1.0
# A topic that could not be joined is tried again when its seam has moved, or after this long.
TRY_AGAIN_S = 5.0
# Readers that opened a table just before it moved on still find what that state lacks.
KEEP_BEHIND_S = 10.0
TAKE_S = 0.1
# Of one core: what a round took in work is followed by three times as much of waiting.
SHARE = 0.25
LONGEST_REST_S = 0.3
AGGREGATED_TOLD = (
    "aggregated trades of an archive are on their way to the table, which alone can tell whether "
    "they stand for trades that are there one by one"
)


@dataclass
class _Topic:
    """The topic of a strand; ``seams`` are those of the last seconds, with their times."""

    name: str
    strand: Strand
    life: tuple[str, str] = ("", "")
    joined: bool = False
    tried_at: float = float("-inf")
    tried: Seam | str | None = None
    seams: list[tuple[float, Mapping[int, int]]] = field(default_factory=list)


class Following:
    """Owned by the tail's thread."""

    def __init__(
        self,
        follower: TopicsFollower,
        seams: Mapping[Kind, Seams],
        strands: Mapping[tuple[Kind, str], Strand],
        *,
        embedded: bool,
    ) -> None:
        self._follower, self._seams = follower, seams
        self._embedded = embedded
        topics = (_Topic(raw_topic(k, e), strand) for (k, e), strand in strands.items())
        self._topics = {topic.name: topic for topic in topics}
        self._looked_at = float("-inf")

    @property
    def is_time_to_look(self) -> bool:
        """Whether the next round looks at tables and topics."""
        return time.monotonic() - self._looked_at >= LOOK_EVERY_S

    def go_on(self, stopped: threading.Event) -> Iterator[tuple[Kind, pa.Table]]:
        """One round: look where that is due, take what has come; rows never given before."""
        if self.is_time_to_look:
            self._look()
        batches = self._follower.take(TAKE_S)
        began = time.thread_time()
        for batch in batches:
            new = self._take_in(self._topics[batch.topic], batch)
            if new.num_rows:
                yield self._topics[batch.topic].strand.kind, new
        self._mark()
        if batches and all(self._follower.at_end(t.name) for t in self._joined()):
            worked = time.thread_time() - began
            stopped.wait(min(worked / SHARE - worked - TAKE_S, LONGEST_REST_S))

    def _joined(self) -> list[_Topic]:
        return [topic for topic in self._topics.values() if topic.joined]

    def _look(self) -> None:
        """See how far the tables are, and which topics there are."""
        self._looked_at = time.monotonic()
        joints = {kind: seams.look() for kind, seams in self._seams.items()}
        cluster = self._follower.cluster(self._topics)
        for topic in self._topics.values():
            self._put_right(topic, joints[topic.strand.kind], cluster)

    def _put_right(self, topic: _Topic, joints: Joints, cluster: Cluster) -> None:
        """Join the topic, or let its strand go of what the table has by now."""
        seam = joints.seams[topic.strand.exchange]
        if topic.joined and topic.life != _life(topic.name, cluster):
            # Its offsets mean other frames now, and may go on as if nothing had happened.
            self._let_go(topic, f"{topic.name} was deleted or made anew; the tail begins anew")
            topic.tried = None
        if topic.joined:
            self._move_on(topic, seam)
        if topic.joined:
            return
        if topic.name not in cluster.topics:
            self._without_topic(topic, seam, cluster.cluster_id)
        elif seam != topic.tried or time.monotonic() - topic.tried_at >= TRY_AGAIN_S:
            topic.tried, topic.tried_at = seam, time.monotonic()
            self._join(topic, seam, cluster)

    def _join(self, topic: _Topic, seam: Seam | str, cluster: Cluster) -> None:
        strand, (topic_id, partitions) = topic.strand, cluster.topics[topic.name]
        if isinstance(seam, str):
            strand.stand(Standing(seam))
            return
        life = cluster.cluster_id, topic_id
        try:
            start = seam.start(topic.name, *life, new_cluster_is_expected=self._embedded)
            start = {p: start.get(p, 0) for p in partitions}
            waiting = self._follower.follow(topic.name, partitions, start)
        except BrokerUnavailable:
            raise
        except LogError as error:
            strand.stand(Standing(str(error)))
            return
        strand.begin(life, seam.epoch_of(*life), start)
        topic.life, topic.joined, topic.seams = life, True, [(time.monotonic(), start)]
        if waiting > MAX_ROWS:
            self._let_go(topic, _too_many(topic, waiting))

    def _move_on(self, topic: _Topic, seam: Seam | str) -> None:
        """Let go of what the table has had for a while; begin anew where it went back."""
        strand = topic.strand
        if isinstance(seam, str):
            self._let_go(topic, seam)
            return
        try:
            now = seam.start(topic.name, *topic.life, new_cluster_is_expected=self._embedded)
        except LogError as error:
            self._let_go(topic, str(error))
            return
        start = {p: now.get(p, 0) for p in strand.held.start}
        if any(start[p] < offset for p, offset in strand.held.start.items()):
            self._let_go(topic, f"{strand.kind} were rolled back; the tail begins anew")
            return
        if start != topic.seams[-1][1]:
            topic.seams.append((time.monotonic(), start))
        while len(topic.seams) > 1 and time.monotonic() - topic.seams[1][0] >= KEEP_BEHIND_S:
            del topic.seams[0]
        strand.drop_behind(topic.seams[0][1])

    def _without_topic(self, topic: _Topic, seam: Seam | str, cluster_id: str) -> None:
        """A topic that Kafka lacks holds nothing, unless the tables have something of it."""
        if isinstance(seam, str):
            topic.strand.stand(Standing(seam))
        elif seam.at is not None and not self._embedded:
            why = f"Kafka has no topic {topic.name}. Make it with `k2 topics create`"
            topic.strand.stand(Standing(why))
        else:
            topic.strand.stand(self._nothing_waits(topic, seam, cluster_id))

    def _nothing_waits(self, topic: _Topic, seam: Seam, cluster_id: str) -> Standing:
        """As of now, unless frames of the broker before this one are not in gold yet."""
        try:
            seam.start(topic.name, cluster_id, "", new_cluster_is_expected=self._embedded)
        except LogError as error:
            return Standing(str(error))
        return Standing(None, datetime.now(UTC))

    def _take_in(self, topic: _Topic, batch: Batch) -> pa.Table:
        strand = topic.strand
        frames = of_epoch(batch.frames, strand.held.epoch)
        rows = parse(strand.exchange, strand.kind, frames).rows
        if has_aggregated(rows):
            self._let_go(topic, AGGREGATED_TOLD)
            return rows.slice(0, 0)
        new = strand.add(rows)
        if batch.trouble is not None:
            _ended(topic, str(batch.trouble))
        elif strand.held.rows > MAX_ROWS:
            self._let_go(topic, _too_many(topic, strand.held.rows))
        return new

    def _let_go(self, topic: _Topic, why: str) -> None:
        self._follower.let_go(topic.name)
        _ended(topic, why)

    def _mark(self) -> None:
        for topic in self._joined():
            reached = self._follower.reached(topic.name)
            if reached is not None:
                topic.strand.stand(Standing(None, reached))


def _life(name: str, cluster: Cluster) -> tuple[str, str] | None:
    """Which life of the topic it is, None where there is none."""
    found = cluster.topics.get(name)
    return None if found is None else (cluster.cluster_id, found[0])


def _ended(topic: _Topic, why: str) -> None:
    topic.joined = False
    topic.strand.stand(Standing(why))
    topic.strand.clear()


def _too_many(topic: _Topic, rows: int) -> str:
    return (
        f"{rows} rows of {topic.name} wait for the table, more than the {MAX_ROWS} that are held "
        f"in memory; the tail begins anew when the table has moved on"
    )
