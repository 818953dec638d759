"""The sensor that has every exchange's list of instruments refreshed once a day."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from k2_assets.instruments import REFRESH
from k2_assets.tables import asset_key
from k2_feeds.listings import LISTINGS
from k2_lake.tables import INSTRUMENTS_TABLE
from k2_sensors.runs import active_days, recent_attempts

EVERY = timedelta(days=1)
# An exchange that does not answer is asked again, less and less often.
FIRST_RETRY, LONGEST_RETRY = timedelta(minutes=1), timedelta(hours=1)


@dg.sensor(
    name="instruments",
    job=REFRESH,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks every exchange once a day what it lists.",
)
def instruments(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One exchange at a time, whose list is a day old: the day's chain needs the machine more."""
    now = datetime.now(UTC)
    busy = active_days(context.instance, REFRESH.name)
    if busy:
        return dg.SkipReason(f"{', '.join(sorted(busy))} is being asked")
    due = {exchange: _due_at(context.instance, exchange) for exchange in LISTINGS}
    exchange = min(due, key=lambda e: due[e])
    if due[exchange] > now:
        return dg.SkipReason(f"{exchange} is the next to be asked, at {due[exchange]:%H:%M} UTC")
    return dg.RunRequest(run_key=f"{exchange}-{now:%Y%m%dT%H%M%S}", partition_key=exchange)


def _due_at(instance: dg.DagsterInstance, exchange: str) -> datetime:
    recent = recent_attempts(instance, REFRESH.name, exchange)
    failed = 0
    for attempt in reversed(recent):
        if attempt.succeeded:
            break
        failed += 1
    last = _materialized_at(instance, exchange)
    if failed:
        return recent[-1].ended_at + retry_after(failed)
    return datetime.min.replace(tzinfo=UTC) if last is None else last + EVERY


def retry_after(failures: int) -> timedelta:
    """How long to wait after so many failed attempts: a minute, doubling, an hour at most."""
    return min(FIRST_RETRY * int(2 ** (min(failures, 10) - 1)), LONGEST_RETRY)


def _materialized_at(instance: dg.DagsterInstance, exchange: str) -> datetime | None:
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key(INSTRUMENTS_TABLE), asset_partitions=[exchange]), limit=1
    )
    return datetime.fromtimestamp(found.records[0].timestamp, UTC) if found.records else None
