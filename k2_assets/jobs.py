"""The jobs that sensors and the command line start; each is one in-process run for one day."""

from __future__ import annotations

import dagster as dg

BRONZE_AND_SILVER = dg.AssetSelection.groups("bronze", "silver")
GOLD = dg.AssetSelection.groups("gold")

TICK = dg.define_asset_job(
    "tick",
    BRONZE_AND_SILVER | GOLD,
    description="From Kafka to the day's candles: what is new since the last tick.",
    executor_def=dg.in_process_executor,
)
INGEST = dg.define_asset_job(
    "ingest",
    BRONZE_AND_SILVER,
    description="From Kafka to silver, whatever trade days the frames hold.",
    executor_def=dg.in_process_executor,
)
TRADE_DAY = dg.define_asset_job(
    "trade_day",
    GOLD,
    description="Gold and candles of one trade day, from what silver has of it.",
    executor_def=dg.in_process_executor,
)

JOBS = [TICK, INGEST, TRADE_DAY]
