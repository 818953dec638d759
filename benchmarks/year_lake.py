"""A lake that lives through a year of ticks: its rows, its steps and its upkeep, by the real code.

A tick brings 30 seconds of trades of four symbols to silver and on to gold and the 1m candles, in
three commits. What follows a day at a time, the coarser candles and the gaps, does so when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from time import process_time

import pyarrow as pa
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThanOrEqual

from benchmarks.figures import Watch
from benchmarks.stages import new_lake
from k2_lake.candles import build_candles
from k2_lake.commit import commit
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.gold import merge
from k2_lake.history import Consumed, Mode
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import expire
from k2_lake.maintenance.garbage import sweep
from k2_lake.maintenance.policy import Policy
from k2_lake.maintenance.retention import retain
from k2_lake.quality.gaps import find_gaps
from k2_lake.scan import of_day, planned
from k2_lake.tables import TABLES, TRADES_TABLE, bronze_name, candle_name, silver_name
from k2_market.kinds import Kind
from k2_market.records import TRADE
from k2_market.timeframes import TIMEFRAMES

EXCHANGE = "binance"
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT")
BRONZE, SILVER = bronze_name(EXCHANGE, Kind.TRADES), silver_name(EXCHANGE, Kind.TRADES)
AGEING = (SILVER, TRADES_TABLE, *map(candle_name, TIMEFRAMES))
TRADES_A_TICK = 120
TICK = timedelta(seconds=30)
POLICY = Policy({"silver": 30})
_AT_ONCE = timedelta(0)


@dataclass(frozen=True)
class Measured:
    """The state of the lake: what a tick's steps and planning take, and how much there is.

    Milliseconds are those of the processor: other work on the machine is not in them. Counts and
    sizes are of gold.trades. ``metadata_bytes`` is its current metadata file, which every commit
    writes anew, ``manifest_bytes`` all manifests of its current snapshot.
    """

    commit_ms: float
    gold_ms: float
    candles_ms: float
    plan_day_ms: float
    plan_month_ms: float
    metadata_bytes: int
    manifest_bytes: int
    snapshots: int
    files: int
    rows: int


class YearLake:
    """One lake and its clock."""

    def __init__(self, home: Path, first: date) -> None:
        self.lake, self.engine, self.day = new_lake(home), DuckDBEngine(), first
        self._ids = 0
        self._recent: deque[Mapping[str, float]] = deque(maxlen=30)

    def tick(self, since: timedelta) -> None:
        """What arrived in 30 seconds, that long after midnight."""
        watch = Watch(process_time)
        rows = self._rows(datetime.combine(self.day, time.min, tzinfo=UTC) + since)
        silver = self.lake.table(SILVER)
        with watch("commit"):
            commit(
                silver,
                add=[rows],
                mode=Mode.APPEND,
                days=[self.day],
                sources={BRONZE: Consumed()},
            )
        with watch("gold"):
            merge(self.lake, self.engine, Kind.TRADES, self.day)
        with watch("candles"):
            build_candles(self.lake, self.engine, "1m", self.day)
        self._recent.append(watch.seconds)

    def end_day(self) -> None:
        """The day's coarser candles and gaps; the clock goes on to the next one."""
        for name in TIMEFRAMES:
            build_candles(self.lake, self.engine, name, self.day)
        find_gaps(self.lake, self.engine, self.day)
        self.day += timedelta(days=1)

    def daily_upkeep(self) -> None:
        """Once a day: compaction of the day that ended, and retention."""
        for name in (SILVER, TRADES_TABLE):
            for _ in compact(
                self.lake, self.engine, name, today=self.day, quiet=_AT_ONCE, worth_it=2
            ):
                pass
        for _ in retain(self.lake, POLICY, self.day, list(AGEING)):
            pass

    def hourly_upkeep(self, keep: int) -> None:
        """Once in 120 ticks: in all tables snapshots expire, and unreached files are deleted."""
        for name in TABLES:
            expire(self.lake, name, keep=keep, young=_AT_ONCE)
            sweep(self.lake, name, grace=_AT_ONCE)

    def measured(self) -> Measured:
        """How the lake stands now; steps are medians of the latest ticks."""
        table = self.lake.table(TRADES_TABLE)
        files, head = planned(table, TRADE.schema), table.current_snapshot()
        assert head is not None
        watch = Watch(process_time)
        month = And(
            GreaterThanOrEqual("trade_date", self.day - timedelta(days=30)),
            LessThanOrEqual("trade_date", self.day),
        )
        for _ in range(5):
            with watch("day"):
                planned(table, TRADE.schema, of_day("trade_date", self.day))
            with watch("month"):
                planned(table, TRADE.schema, month)
        steps = {name: 1000 * median(r[name] for r in self._recent) for name in self._recent[-1]}
        return Measured(
            commit_ms=steps["commit"],
            gold_ms=steps["gold"],
            candles_ms=steps["candles"],
            plan_day_ms=200 * watch.seconds["day"],
            plan_month_ms=200 * watch.seconds["month"],
            metadata_bytes=len(table.io.new_input(table.metadata_location)),
            manifest_bytes=sum(m.manifest_length for m in head.manifests(table.io)),
            snapshots=len(table.metadata.snapshots),
            files=len(files.files),
            rows=files.rows,
        )

    def _rows(self, start: datetime) -> pa.Table:
        """The trades of one tick; ids of a symbol follow one another without a hole."""
        rows = []
        for n in range(TRADES_A_TICK):
            symbol = SYMBOLS[n % len(SYMBOLS)]
            sequence = (self._ids + n) // len(SYMBOLS) + 1
            happened = start + n * TICK / TRADES_A_TICK
            price = Decimal(1000 + (sequence * 7919 + n) % 997)
            rows.append(
                {
                    "exchange": EXCHANGE,
                    "symbol": symbol,
                    "exchange_symbol": symbol.replace("-", ""),
                    "asset_class": "crypto",
                    "trade_id": str(sequence),
                    "source_sequence": sequence,
                    "timestamp": happened,
                    "event_time": happened,
                    "ingestion_timestamp": happened + timedelta(milliseconds=5),
                    "price": price,
                    "quantity": Decimal("0.25"),
                    "currency": "USDT",
                    "side": "buy" if n % 2 else "sell",
                    "candle_eligible": True,
                    "trade_count": 1,
                    "epoch": 1,
                    "kafka_partition": 0,
                    "kafka_offset": self._ids + n,
                    "frame_index": 0,
                    "trade_date": self.day,
                    "ingest_date": self.day,
                }
            )
        self._ids += TRADES_A_TICK
        table = pa.Table.from_pylist(rows, schema=TRADE.schema)
        return table.sort_by([(c, "ascending") for c in TRADE.order])
