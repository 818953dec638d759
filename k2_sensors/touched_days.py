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
from k2_sensors.decide import Request, Skip, backlog_id, decide
from k2_sensors.runs import BACKLOG_TAG, active_days, attempts_made, recent_attempts

# More days than this wait until runs have ended: an archive of years is worked off in order.
DAYS_AT_ONCE = 50
REASONS_SHOWN = 5


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
    under_way = active_days(context.instance, TRADE_DAY.name)
    busy = under_way | active_days(context.instance, TICK_JOB.name)
    requests: list[dg.RunRequest] = []
    waiting: list[str] = []
    for day, state in sorted(days.items()):
        if len(requests) + len(under_way) >= DAYS_AT_ONCE:
            waiting.append(f"{day} and later days wait for runs to end")
            break
        decision = _decide(context.instance, day, state, busy, now)
        if isinstance(decision, Request):
            requests.append(_run(decision))
        else:
            waiting.append(decision.reason)
    if not requests:
        return dg.SkipReason("; ".join(waiting[:REASONS_SHOWN]))
    return dg.SensorResult(run_requests=requests)


def _decide(
    instance: dg.DagsterInstance, day: date, state: list[str], busy: set[str], now: datetime
) -> Request | Skip:
    if day > now.date():
        return Skip(f"{day} has not begun")
    if day.isoformat() in busy:
        return Skip(f"a run is under way; waiting with {day}")
    name = backlog_id("day", day, {"state": state})
    recent = recent_attempts(instance, TRADE_DAY.name, day.isoformat())
    return decide(day, name, str(day), recent, attempts_made(instance, name), now)


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
