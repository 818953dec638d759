"""The graph and what sets it going: the code location that ``workspace.yaml`` names."""

from __future__ import annotations

import dagster as dg

from k2_assets.definitions import definitions
from k2_market.kinds import Kind
from k2_sensors.day_condition import day_condition
from k2_sensors.freshness import freshness
from k2_sensors.instruments import instruments
from k2_sensors.kafka_lag import kafka_lag
from k2_sensors.landing import landing
from k2_sensors.reconciliation import reconciliation
from k2_sensors.repair import repair
from k2_sensors.schedules import gc, history, retention, upkeep
from k2_sensors.touched_days import touched_days

SENSORS = [
    *(kafka_lag(kind) for kind in Kind),
    *(touched_days(kind) for kind in Kind),
    freshness,
    landing,
    instruments,
    repair,
    day_condition,
]

SCHEDULES = [reconciliation, upkeep, gc, retention, history]

defs = dg.Definitions.merge(definitions(), dg.Definitions(sensors=SENSORS, schedules=SCHEDULES))
