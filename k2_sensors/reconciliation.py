"""The schedule that lays candles beside the exchanges' own, for those who switch it on."""

from datetime import timedelta

import dagster as dg

from k2_assets.reconciliation import RECONCILE

# Kraken keeps the newest 720 windows: twelve hours of 1m candles must not go by unasked.
EVERY_SIX_HOURS = "20 */6 * * *"
_LATEST_HOURS = timedelta(hours=6)


@dg.schedule(
    name="reconciliation",
    job_name=RECONCILE.name,
    cron_schedule=EVERY_SIX_HOURS,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Asks the exchanges for their candles every six hours. Off until it is started.",
)
def reconciliation(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The day that the hours since the last time belong to: at 00:20 the one before."""
    at = context.scheduled_execution_time
    day = (at - _LATEST_HOURS).date()
    return dg.RunRequest(run_key=f"{at:%Y%m%dT%H%M}", partition_key=day.isoformat())
