"""The one axis of all assets: UTC days, today included.

Bronze and silver are partitioned by the day of arrival, gold and candles by the day of trading.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import dagster as dg

from k2_lake.engine import engine_name
from k2_market.rules import EARLIEST_DAY

DAYS = dg.DailyPartitionsDefinition(
    start_date=EARLIEST_DAY.isoformat(), timezone="UTC", end_offset=1
)


def day_of(partition_key: str) -> date:
    """The UTC day that a partition key names."""
    return date.fromisoformat(partition_key)


def backfill_policy(env: Mapping[str, str]) -> dg.BackfillPolicy | None:
    """How many days a run of a backfill does: with Spark all of them, else one as Dagster has it.

    Spark has a session to start, and machines to fill. Raises UnknownName for no such engine.
    """
    return dg.BackfillPolicy.single_run() if engine_name(env) == "spark" else None
