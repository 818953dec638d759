"""The sensor that says which tables are late, whether ticks run or not."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg

from k2_assets.freshness import evaluation, measured
from k2_assets.resources import KafkaResource, LakeResource
from k2_lake.quality.freshness import Freshness
from k2_market.errors import K2Error

# An evaluation is an event to keep: what stays as it was is told only so often.
TOLD_AGAIN_S = 600


@dg.sensor(
    name="freshness",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Measures how far tables are behind their feeds; starts nothing.",
)
def freshness(
    context: dg.SensorEvaluationContext, lake: LakeResource, kafka: KafkaResource
) -> dg.SensorResult | dg.SkipReason:
    """The check ``fresh`` of each table, told when it changes and every ten minutes."""
    try:
        states = measured(lake.open(), kafka.settings())
    except K2Error as error:
        return dg.SkipReason(f"cannot be measured: {error}")
    now = datetime.now(UTC).timestamp()
    told = json.loads(context.cursor or "{}")
    news = [s for s in states if _is_news(told.get(s.table), s, now)]
    told |= {s.table: [s.late, now] for s in news}
    return dg.SensorResult(
        skip_reason=_sentence(states),
        cursor=json.dumps(told),
        asset_events=[dg.AssetCheckEvaluation(**evaluation(s)) for s in news],
    )


def _is_news(told: list[float] | None, state: Freshness, now: float) -> bool:
    return told is None or bool(told[0]) != state.late or not 0 <= now - told[1] < TOLD_AGAIN_S


def _sentence(states: Iterable[Freshness]) -> str:
    late = [f"{s.table} ({s.lag_s:.0f} s behind, {s.slo_s} allowed)" for s in states if s.late]
    return f"late: {', '.join(late)}" if late else "every table has what arrived, or soon will"
