"""The sensors that follow trades and quotes to the day they happened on.

A tick brings the day it runs in up to date. Late trades, trades around midnight and old tapes
touch other days: silver's commits name them, and these sensors request exactly those.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime

import dagster as dg

from k2_assets.jobs import JOBS_OF
from k2_assets.resources import LakeResource
from k2_assets.tables import BACKLOG_TAG, MODE_TAG, TICK
from k2_lake.candles import pending_days as candles_pending
from k2_lake.catalog import Lake
from k2_lake.gold import pending_days as gold_pending
from k2_lake.quality.gaps import pending_days as gaps_pending
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from k2_sensors.day_runs import requested
from k2_sensors.decide import Request, Skip, backlog_id, decide
from k2_sensors.runs import active_days, attempts_made, recent_attempts

# More days than this wait until runs have ended: an archive of years is worked off in order.
DAYS_AT_ONCE = 50


def touched_days(kind: Kind) -> dg.SensorDefinition:
    """The sensor of a kind's days: ``touched_days`` for trades, ``touched_days_quotes``."""

    @dg.sensor(
        name="touched_days" if kind is Kind.TRADES else f"touched_days_{kind}",
        job_name=JOBS_OF[kind].day,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Requests gold for the days that new silver rows of {kind} touched.",
    )
    def touched(
        context: dg.SensorEvaluationContext, lake: LakeResource
    ) -> dg.SensorResult | dg.SkipReason:
        return _decided(context, kind, pending(lake.open(), kind))

    return touched


def _decided(
    context: dg.SensorEvaluationContext, kind: Kind, days: Mapping[date, list[str]]
) -> dg.SensorResult | dg.SkipReason:
    """One run for each day that silver touched and gold, or a candle table, lacks."""
    jobs, now = JOBS_OF[kind], datetime.now(UTC)
    if not days:
        return dg.SkipReason("every day that silver touched is in gold and in all candles and gaps")
    under_way = active_days(context.instance, jobs.day)
    busy = under_way | active_days(context.instance, jobs.tick)

    def decided(day: date, state: list[str]) -> Request | Skip:
        return _decide(context.instance, jobs.day, day, state, busy, now)

    return requested(sorted(days.items()), len(under_way), DAYS_AT_ONCE, decided, _run)


def _decide(
    instance: dg.DagsterInstance,
    job: str,
    day: date,
    state: list[str],
    busy: set[str],
    now: datetime,
) -> Request | Skip:
    if day > now.date():
        return Skip(f"{day} has not begun")
    if day.isoformat() in busy:
        return Skip(f"a run is under way; waiting with {day}")
    name = backlog_id(job, day, {"state": state})
    recent = recent_attempts(instance, job, day.isoformat())
    return decide(day, name, str(day), recent, attempts_made(instance, name), now)


def pending(lake: Lake, kind: Kind) -> dict[date, list[str]]:
    """The days with work outstanding, each with the tables that lack it and how much."""
    found: dict[date, list[str]] = {}
    for day, sequence in gold_pending(lake, kind).items():
        found.setdefault(day, []).append(f"{kind}@{sequence}")
    for name in TIMEFRAMES if kind is Kind.TRADES else ():
        for day, sequence in candles_pending(lake, name).items():
            found.setdefault(day, []).append(f"{name}@{sequence}")
    for day, sequence in gaps_pending(lake).items() if kind is Kind.TRADES else ():
        found.setdefault(day, []).append(f"gaps@{sequence}")
    return found


def _run(decision: Request) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=decision.run_key,
        partition_key=decision.day.isoformat(),
        tags={MODE_TAG: TICK, BACKLOG_TAG: decision.backlog},
    )
