"""The sensor that follows trades to the day they happened on.

A tick brings the day it runs in up to date. Late trades, trades around midnight and old tapes
touch other days: silver's commits name them, and this sensor requests exactly those.
"""

from datetime import UTC, date, datetime

import dagster as dg

from k2_assets.jobs import TICK as TICK_JOB
from k2_assets.jobs import TRADE_DAY
from k2_assets.resources import LakeResource
from k2_assets.tables import MODE_TAG, TICK
from k2_lake.candles import pending_days as candles_pending
from k2_lake.catalog import Lake
from k2_lake.gold import pending_days as gold_pending
from k2_market.timeframes import TIMEFRAMES
from k2_sensors.decide import Request, backlog_id, decide
from k2_sensors.runs import BACKLOG_TAG, active_days, attempts

# More days than this wait for the next evaluation: an archive of years is worked off in order.
DAYS_AT_ONCE = 50


@dg.sensor(
    name="touched_days",
    job=TRADE_DAY,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests gold and candles for the trade days that new silver rows touched.",
)
def touched_days(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> dg.SensorResult | dg.SkipReason:
    """One run for each day that silver touched and gold, or a candle table, lacks."""
    now = datetime.now(UTC)
    days = pending(lake.open())
    if not days:
        return dg.SkipReason("every trade day that silver touched is in gold and in all candles")
    busy = active_days(context.instance, TRADE_DAY.name) | active_days(
        context.instance, TICK_JOB.name
    )
    requests, waiting = [], []
    for day, state in sorted(days.items())[:DAYS_AT_ONCE]:
        if day > now.date():
            waiting.append(f"{day} has not begun")
            continue
        name = backlog_id("day", day, {"state": state})
        decision = decide(
            day, name, str(day), attempts(context.instance, name), day.isoformat() in busy, now
        )
        if isinstance(decision, Request):
            requests.append(_run(decision))
        else:
            waiting.append(decision.reason)
    if not requests:
        return dg.SkipReason("; ".join(waiting))
    return dg.SensorResult(run_requests=requests)


def pending(lake: Lake) -> dict[date, list[str]]:
    """The trade days with work outstanding, each with the tables that lack it and how much."""
    found: dict[date, list[str]] = {}
    for day, sequence in gold_pending(lake).items():
        found.setdefault(day, []).append(f"trades@{sequence}")
    for name in TIMEFRAMES:
        for day, sequence in candles_pending(lake, name).items():
            found.setdefault(day, []).append(f"{name}@{sequence}")
    return found


def _run(decision: Request) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=decision.run_key,
        partition_key=decision.day.isoformat(),
        tags={MODE_TAG: TICK, BACKLOG_TAG: decision.backlog},
    )
