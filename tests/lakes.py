"""A lake in a temporary folder, filled step by step without Kafka or Dagster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import pyarrow as pa

from k2_feeds.parsing import frames as parsing
from k2_lake.bronze import Position, append_frames, position
from k2_lake.candles import build_candles
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import Engine
from k2_lake.gold import merge, pending_days
from k2_lake.parsed import Parse
from k2_lake.quality.gaps import find_gaps
from k2_lake.scan import planned
from k2_lake.silver import refine, refine_day
from k2_lake.tables import TABLES, bronze_name
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from tests.frames import ARRIVAL, Print, prints_table

CLUSTER = "test-cluster"


def open_lake(home: Path, env: Mapping[str, str] | None = None) -> Lake:
    return Lake(LakeSettings.from_environment(env or {}, home))


class LakeDriver:
    """Does what the assets of a kind do, in their order; ``env`` may set the lake up elsewhere."""

    def __init__(
        self, home: Path, env: Mapping[str, str] | None = None, kind: Kind = Kind.TRADES
    ) -> None:
        self.kind = kind
        self.lake = open_lake(home, env)
        self.engine: Engine = DuckDBEngine(io=self.lake.io)

    def receive(self, prints: Sequence[Print], exchange: str = "binance") -> None:
        """Frames arrive in bronze."""
        if not prints:
            return
        self.receive_frames(
            prints_table(prints, self.next_offset(exchange), exchange=exchange), exchange
        )

    def receive_frames(self, frames: pa.Table, exchange: str = "binance") -> None:
        table = self.lake.table(bronze_name(exchange, self.kind))
        at = position(table) or Position(1, CLUSTER)
        append_frames(table, at, frames, {0: frames["kafka_offset"][-1].as_py() + 1})

    def next_offset(self, exchange: str = "binance") -> int:
        at = position(self.lake.table(bronze_name(exchange, self.kind)))
        return 0 if at is None else at.offsets[0]

    def tick(self, exchanges: Sequence[str] = ("binance",)) -> None:
        """What is new goes through to the candles, for every day it touches."""
        for exchange in exchanges:
            refine(self.lake, self.engine, exchange, self.kind, parser(exchange, self.kind))
        for day in sorted(pending_days(self.lake, self.kind)):
            merge(self.lake, self.engine, self.kind, day)
            self.candles(day)
            self.gaps(day)

    def candles(self, day: date, *, recompute: bool = False) -> None:
        for name in TIMEFRAMES if self.kind is Kind.TRADES else ():
            build_candles(self.lake, self.engine, name, day, recompute=recompute)

    def gaps(self, day: date, *, recompute: bool = False) -> None:
        if self.kind is Kind.TRADES:
            find_gaps(self.lake, self.engine, day, recompute=recompute)

    def recompute(self, days: Sequence[date], exchanges: Sequence[str] = ("binance",)) -> None:
        """Everything from bronze again, day by day, as a backfill does."""
        for exchange in exchanges:
            refine_day(
                self.lake,
                self.engine,
                exchange,
                self.kind,
                parser(exchange, self.kind),
                ARRIVAL.date(),
            )
        for day in days:
            merge(self.lake, self.engine, self.kind, day, recompute=True)
            self.candles(day, recompute=True)
        for day in days:
            self.gaps(day, recompute=True)

    def rows(self, name: str) -> list[dict[str, object]]:
        """All rows of a table, ordered by its key."""
        definition = TABLES[name]
        files = planned(self.lake.table(name), definition.schema)
        order = ", ".join(dict.fromkeys((*definition.record.key, *_coordinates(definition.schema))))
        found: list[dict[str, object]] = self.engine.query(
            f"select * from rows order by {order}", {"rows": files}, definition.schema
        ).to_pylist()
        return found

    def everything(self) -> dict[str, list[dict[str, object]]]:
        return {name: self.rows(name) for name in TABLES}


def parser(exchange: str = "binance", kind: Kind = Kind.TRADES) -> Parse:
    return partial(parsing.parse, exchange, kind)


def _coordinates(schema: pa.Schema) -> list[str]:
    wanted = ("epoch", "kafka_partition", "kafka_offset", "frame_index")
    return [c for c in wanted if c in schema.names]
