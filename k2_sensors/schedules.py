"""The schedules of upkeep and retention, of the tables and of Dagster's own history."""

from __future__ import annotations

from typing import Any

import dagster as dg

from k2_assets.history import HISTORY
from k2_assets.maintenance import GC, UPKEEP
from k2_assets.retention import RETENTION

ON, OFF = dg.DefaultScheduleStatus.RUNNING, dg.DefaultScheduleStatus.STOPPED


def _schedule(
    job: Any, cron: str, description: str, status: dg.DefaultScheduleStatus = ON
) -> dg.ScheduleDefinition:
    """The schedule of a job, under its name; times are UTC."""
    return dg.ScheduleDefinition(
        name=job.name,
        job_name=job.name,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=status,
        description=description,
    )


# A tick every half minute leaves sixty snapshots until then.
upkeep = _schedule(
    UPKEEP,
    "20,50 * * * *",
    "Compacts closed days and forgets old snapshots, twice an hour. Rows stay.",
)
gc = _schedule(
    GC, "40 4 * * *", "Deletes, once a day, files that no snapshot reaches and that are days old."
)
# Nobody loses a day that they did not ask to lose.
retention = _schedule(
    RETENTION,
    "30 3 * * *",
    "Drops old days once a day. Off until it is started; `k2 lake retain --dry-run` shows "
    "beforehand what would go.",
    OFF,
)
# A run leaves 180 kB, and there are thousands a day.
history = _schedule(
    HISTORY,
    "10 4 * * *",
    "Deletes old runs once a day; what a partition's page shows stays.",
)
