"""The schedules of upkeep and retention, of the tables and of Dagster's own history."""

from __future__ import annotations

import dagster as dg

from k2_assets.history import HISTORY
from k2_assets.maintenance import GC, UPKEEP
from k2_assets.retention import RETENTION

# A tick every half minute leaves sixty snapshots until then.
upkeep = dg.ScheduleDefinition(
    name="upkeep",
    job_name=UPKEEP.name,
    cron_schedule="20,50 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compacts closed days and forgets old snapshots, twice an hour. Rows stay.",
)

gc = dg.ScheduleDefinition(
    name="gc",
    job_name=GC.name,
    cron_schedule="40 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes, once a day, files that no snapshot reaches and that are days old.",
)

# Nobody loses a day that they did not ask to lose.
retention = dg.ScheduleDefinition(
    name="retention",
    job_name=RETENTION.name,
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Drops old days once a day. Off until it is started; `k2 lake retain --dry-run` "
    "shows beforehand what would go.",
)

# A run leaves 180 kB, and there are thousands a day.
history = dg.ScheduleDefinition(
    name="history",
    job_name=HISTORY.name,
    cron_schedule="10 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes old runs once a day; what a partition's page shows stays.",
)
