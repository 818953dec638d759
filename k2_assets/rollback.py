"""Whether Kafka can give again what bronze would let go of: a rollback must lose no frame."""

from __future__ import annotations

from k2_feeds.kafka.admin import topic_id
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.reader import TopicReader
from k2_lake.travel.rollback import Rollback
from k2_market.errors import UsageError


def require_in_kafka(kafka: KafkaSettings | None, plan: Rollback) -> None:
    """Raise UsageError, with the numbers, unless Kafka still holds every frame to be read again.

    Raises BrokerUnavailable where it does not answer. A table that is not bronze needs no Kafka.
    """
    wanted = plan.reread
    if wanted is None or not wanted.frames:
        return
    if kafka is None:
        raise _refused(plan, "no broker is configured or running, so Kafka cannot be asked")
    with TopicReader(kafka, wanted.topic) as reader:
        made_as, cluster = topic_id(kafka, wanted.topic), reader.cluster_id()
        marks = reader.watermarks()
    if cluster != wanted.cluster_id or (wanted.topic_id not in ("", made_as)):
        raise _refused(plan, f"they were of the cluster {wanted.cluster_id!r}, {cluster!r} serves")
    gone = {
        p: marks.get(p, (0, 0))
        for p, end in wanted.end.items()
        if not marks.get(p, (0, 0))[0] <= wanted.start.get(p, 0) <= end <= marks.get(p, (0, 0))[1]
    }
    if gone:
        kept = ", ".join(f"[{p}] {low} to {high}" for p, (low, high) in sorted(gone.items()))
        raise _refused(plan, f"Kafka keeps only {kept}")


def _refused(plan: Rollback, why: str) -> UsageError:
    wanted = plan.reread
    if wanted is None:
        raise AssertionError(plan.table)
    spans = ", ".join(f"[{p}] {wanted.start.get(p, 0)} to {e}" for p, e in wanted.end.items())
    return UsageError(
        f"{plan.table} is not rolled back to snapshot {plan.to.snapshot_id}: {wanted.frames:,} "
        f"frames of {wanted.topic} would have to be read again (offsets {spans}, each end "
        f"exclusive), but {why}. They would be lost; nothing was changed."
    )
