"""The jobs that sensors and the command line start; each is one in-process run for one day.

Trades and quotes have jobs of their own: however many quotes come, candles do not wait for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg

from k2_assets.freshness import FRESH_CHECKS
from k2_assets.tables import asset_key, in_process_job
from k2_lake.tables import (
    GAPS_TABLE,
    REJECTED_TABLE,
    bronze_name,
    candle_name,
    gold_name,
    silver_name,
)
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES


@dataclass(frozen=True)
class Jobs:
    """The names of a kind's jobs.

    ``tick``: from Kafka to the day's gold and candles, what is new since the last tick. ``ingest``:
    from Kafka to silver, whatever days the frames tell of. ``day``: gold and candles of one day,
    from what silver has of it.
    """

    tick: str
    ingest: str
    day: str


JOBS_OF = {
    Kind.TRADES: Jobs("tick", "ingest", "trade_day"),
    Kind.QUOTES: Jobs("tick_quotes", "ingest_quotes", "quote_day"),
}


def _arriving(kind: Kind) -> list[str]:
    names = [name(e, kind) for name in (bronze_name, silver_name) for e in EXCHANGES]
    return [*names, REJECTED_TABLE]


def _made_of(kind: Kind) -> list[str]:
    of_trades = [*map(candle_name, TIMEFRAMES), GAPS_TABLE]
    return [gold_name(kind), *(of_trades if kind is Kind.TRADES else [])]


def made_from_bronze() -> list[str]:
    """The tables that can be computed anew, day by day, from what bronze holds."""
    bronze = {bronze_name(e, kind) for kind in Kind for e in EXCHANGES}
    tables = [t for kind in Kind for t in (*_arriving(kind), *_made_of(kind)) if t not in bronze]
    return list(dict.fromkeys(tables))


def _job(name: str, tables: list[str], description: str) -> Any:
    # Freshness is measured beside the ticks: within one it could only say that one came.
    selection = dg.AssetSelection.assets(*map(asset_key, tables)) - FRESH_CHECKS
    return in_process_job(name, selection, description)


def _jobs(kind: Kind) -> list[Any]:
    names, arriving, made = JOBS_OF[kind], _arriving(kind), _made_of(kind)
    return [
        _job(names.tick, arriving + made, f"From Kafka to the day's {kind}: what is new."),
        _job(names.ingest, arriving, f"From Kafka to silver: {kind} of whatever day."),
        _job(names.day, made, f"Gold of one day, from what silver has of its {kind}."),
    ]


JOBS = [job for kind in Kind for job in _jobs(kind)]
