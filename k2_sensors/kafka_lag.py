"""The sensor that turns frames waiting in Kafka into a tick."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from k2_assets.jobs import JOBS_OF
from k2_assets.resources import KafkaResource, LakeResource
from k2_assets.tables import BACKLOG_TAG, MODE_TAG, TICK
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_lake.bronze import position
from k2_lake.catalog import Lake
from k2_lake.history import Consumed, consumed
from k2_lake.lost import follow
from k2_lake.tables import bronze_name, silver_name
from k2_market.errors import BrokerUnavailable
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME
from k2_sensors.decide import Skip, backlog_id, decide
from k2_sensors.runs import active_days, attempts_made, recent_attempts

# No candle waits for quotes, and their ticks take processor time that those of trades could use.
_LOOK_EVERY_S = {Kind.TRADES: 5, Kind.QUOTES: 15}


def kafka_lag(kind: Kind) -> dg.SensorDefinition:
    """The sensor of a kind's ticks: ``kafka_lag`` for trades, ``kafka_lag_quotes``."""
    job = JOBS_OF[kind].tick

    @dg.sensor(
        name="kafka_lag" if kind is Kind.TRADES else f"kafka_lag_{kind}",
        job_name=job,
        minimum_interval_seconds=_LOOK_EVERY_S[kind],
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a tick when Kafka holds frames that bronze lacks, or bronze silver.",
    )
    def lag(
        context: dg.SensorEvaluationContext, lake: LakeResource, kafka: KafkaResource
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            waiting = backlog(lake.open(), kafka.settings(), kind)
        except BrokerUnavailable as error:
            return dg.SkipReason(str(error))
        return _decided(context, job, waiting)

    return lag


def _decided(
    context: dg.SensorEvaluationContext, job: str, waiting: Mapping[str, Mapping[str, Any]]
) -> dg.SensorResult | dg.SkipReason:
    """What to do about what waits; the cursor only informs."""
    now = datetime.now(UTC)
    if not waiting:
        return dg.SkipReason("every frame in Kafka is in bronze and every row of bronze in silver")
    frames = sum(w["frames"] for w in waiting.values())
    what = f"{frames} frames of {', '.join(sorted(waiting))}"
    if active_days(context.instance, job):
        return dg.SkipReason(f"a run is under way; waiting with {what}")
    name = backlog_id(job, now.date(), waiting)
    recent = recent_attempts(context.instance, job)
    made = attempts_made(context.instance, name)
    decision = decide(now.date(), name, what, recent, made, now)
    if isinstance(decision, Skip):
        return dg.SkipReason(decision.reason)
    request = dg.RunRequest(
        run_key=decision.run_key,
        partition_key=decision.day.isoformat(),
        tags={MODE_TAG: TICK, BACKLOG_TAG: decision.backlog},
    )
    return dg.SensorResult(run_requests=[request], cursor=what)


def backlog(lake: Lake, kafka: KafkaSettings, kind: Kind) -> dict[str, Mapping[str, Any]]:
    """By exchange, what waits: frames in Kafka beyond bronze, commits of bronze beyond silver.

    Exchanges where nothing waits are left out. A topic that is gone, or ends before what bronze has
    of it, waits as well: a run shall fail and say so. Raises BrokerUnavailable.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for exchange in EXCHANGES:
        source = bronze_name(exchange, kind)
        bronze = lake.table(source)
        silver = silver_name(exchange, kind)
        done = consumed(lake.table(silver)).get(source, Consumed())
        commits = len(follow(bronze, done, of=silver, day=RAW_FRAME.day).changes)
        with TopicReader(kafka, raw_topic(kind, exchange)) as reader:
            ends = {p: high for p, (_, high) in reader.watermarks().items()}
            at = position(bronze)
            same = at is not None and (not ends or at.cluster_id == reader.cluster_id())
        offsets = at.offsets if at is not None and same else {}
        ahead = {p: end - offsets.get(p, 0) for p, end in ends.items()}
        frames = sum(max(0, n) for n in ahead.values())
        # The embedded broker has no topic before its first frame; elsewhere it was deleted.
        gone = not ends and at is not None and not kafka.embedded
        if frames or commits or gone or any(n < 0 for n in ahead.values()):
            found[exchange] = {"frames": frames, "commits": commits, "ends": ends}
    return found
