"""The sensor that repairs gaps by itself, for those who switch it on."""

from datetime import UTC, datetime

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.repair import REPAIR, Selection, selected
from k2_assets.resources import LakeResource, duckdb_engine
from k2_assets.tables import BACKLOG_TAG
from k2_sensors.decide import Skip, backlog_id, decide
from k2_sensors.runs import active_days, attempts_made, recent_attempts


@dg.sensor(
    name="repair",
    job_name=REPAIR.name,  # given the job itself, Dagster copies the sensor with a beta warning
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Repairs open gaps over the exchanges' REST histories. Off until it is started.",
)
def repair(
    context: dg.SensorEvaluationContext, lake: LakeResource, duckdb: DuckDBResource
) -> dg.SensorResult | dg.SkipReason:
    """One run while gaps are open; an attempt that left the same ones waits longer and longer."""
    now, opened = datetime.now(UTC), lake.open()
    gaps = [
        g
        for of in selected(opened, duckdb_engine(opened, duckdb), Selection()).values()
        for g in of
    ]
    if not gaps:
        return dg.SkipReason("no gap is open")
    what = f"{len(gaps)} open gaps"
    if active_days(context.instance, REPAIR.name):
        return dg.SkipReason(f"a run is under way; waiting with {what}")
    keys = [f"{g.exchange} {g.symbol} {g.first_missing_id} {g.last_missing_id}" for g in gaps]
    name = backlog_id(REPAIR.name, now.date(), {"gaps": keys})
    recent = recent_attempts(context.instance, REPAIR.name)
    decision = decide(now.date(), name, what, recent, attempts_made(context.instance, name), now)
    if isinstance(decision, Skip):
        return dg.SkipReason(decision.reason)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=decision.run_key, tags={BACKLOG_TAG: decision.backlog})]
    )
