"""The sensor that keeps the conditions of days fresh, beside the ticks and slower than they."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.day_condition import CONDITION, configured
from k2_assets.resources import LakeResource, duckdb_engine
from k2_assets.tables import BACKLOG_TAG
from k2_lake.quality.day_due import due_days
from k2_sensors.day_runs import requested
from k2_sensors.decide import Request, Skip, backlog_id, decide
from k2_sensors.runs import active_days, attempts_made, recent_attempts

# Today changes with every tick; its conditions are pending anyhow, and a look now and then will do.
TODAY_EVERY = timedelta(minutes=5)
# The pool lets one run at a time, so that however many days are due, ticks have the machine.
DAYS_AT_ONCE = 20


@dg.sensor(
    name="day_condition",
    job_name=CONDITION.name,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests the condition of days that changed, are over by now, or lack one.",
)
def day_condition(
    context: dg.SensorEvaluationContext, lake: LakeResource, duckdb: DuckDBResource
) -> dg.SensorResult | dg.SkipReason:
    """One run for each day that is due, the newest first."""
    now, opened = datetime.now(UTC), lake.open()
    engine = duckdb_engine(opened, duckdb)
    due = due_days(opened, engine, now.date(), configured(opened))
    return _decided(context.instance, due, now)


def _decided(
    instance: dg.DagsterInstance, due: Mapping[date, list[str]], now: datetime
) -> dg.SensorResult | dg.SkipReason:
    if not due:
        return dg.SkipReason("the condition of every day is up to date")
    under_way = active_days(instance, CONDITION.name)

    def decided(day: date, state: list[str]) -> Request | Skip:
        return _decide(instance, day, state, under_way, now)

    newest_first = sorted(due.items(), reverse=True)
    return requested(newest_first, len(under_way), DAYS_AT_ONCE, decided, _run)


def _decide(
    instance: dg.DagsterInstance, day: date, state: list[str], under_way: set[str], now: datetime
) -> Request | Skip:
    if day.isoformat() in under_way:
        return Skip(f"a run is under way; waiting with {day}")
    recent = recent_attempts(instance, CONDITION.name, day.isoformat())
    if day == now.date() and recent and now < recent[-1].ended_at + TODAY_EVERY:
        return Skip(f"today was looked at less than {TODAY_EVERY.seconds // 60} minutes ago")
    name = backlog_id(CONDITION.name, day, {"state": state})
    return decide(day, name, str(day), recent, attempts_made(instance, name), now)


def _run(decision: Request) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=decision.run_key,
        partition_key=decision.day.isoformat(),
        tags={BACKLOG_TAG: decision.backlog, "dagster/priority": "-1"},
    )
