"""Made trades in a real lake: silver, gold and candles, without frames or Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from k2_lake.candles import build_candles
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.commit import commit
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.gold import merge
from k2_lake.history import Consumed, Mode
from k2_lake.tables import bronze_name, silver_name
from k2_market.kinds import Kind
from k2_market.records import TRADE
from k2_market.timeframes import TIMEFRAMES

MIDNIGHT = datetime(2024, 8, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    """A trade in few words; ``at`` is seconds after 2024-08-08 00:00 UTC."""

    number: int
    at: float
    exchange: str = "binance"
    own: str = "BTCUSDT"
    symbol: str = "BTC-USDT"
    price: str = "61234.50000000"
    quantity: str = "0.00000001"
    conditions: Sequence[str] | None = None
    vendor: dict[str, str] | None = None


def many(count: int, *, first: int = 1, every_s: float = 20.0, **same: object) -> list[Made]:
    """Trades at a steady pace; every second one shares its time with the one before."""
    return [
        Made(n, (n - first) // 2 * 2 * every_s + first, price=f"{60000 + n % 97}.25", **same)  # type: ignore[arg-type]
        for n in range(first, first + count)
    ]


class TradeLake:
    """A lake in a folder, that grows by made trades."""

    def __init__(self, home: Path) -> None:
        self.settings = LakeSettings.from_environment({}, home)
        self.lake = Lake(self.settings)
        self.engine = DuckDBEngine(io=self.lake.io)

    def add(self, trades: Sequence[Made]) -> None:
        """The trades come in and go through to the candles."""
        for exchange in sorted({t.exchange for t in trades}):
            self.arrive(exchange, [t for t in trades if t.exchange == exchange])
        for day in sorted({_at(t).date() for t in trades}):
            merge(self.lake, self.engine, Kind.TRADES, day)
            for name in TIMEFRAMES:
                build_candles(self.lake, self.engine, name, day)

    def arrive(self, exchange: str, trades: Sequence[Made]) -> None:
        """The trades are in silver, and nothing above it has followed yet."""
        rows = pa.Table.from_pylist([row_of(t) for t in trades], schema=TRADE.schema)
        commit(
            self.lake.table(silver_name(exchange, Kind.TRADES)),
            add=[rows],
            mode=Mode.APPEND,
            days={_at(t).date() for t in trades},
            sources={bronze_name(exchange, Kind.TRADES): Consumed(0)},
        )


def _at(trade: Made) -> datetime:
    return MIDNIGHT + timedelta(seconds=trade.at)


def row_of(trade: Made) -> dict[str, object]:
    """The row of the trade in silver and gold."""
    at = _at(trade)
    return {
        "exchange": trade.exchange,
        "symbol": trade.symbol,
        "exchange_symbol": trade.own,
        "asset_class": "crypto",
        "trade_id": str(trade.number),
        "source_sequence": trade.number,
        "timestamp": at,
        "event_time": None,
        "ingestion_timestamp": at,
        "price": Decimal(trade.price),
        "quantity": Decimal(trade.quantity),
        "currency": trade.symbol.split("-")[1],
        "side": "buy" if trade.number % 2 else "sell",
        "trade_conditions": trade.conditions,
        "vendor_data": None if trade.vendor is None else list(trade.vendor.items()),
        "candle_eligible": True,
        "trade_count": 1,
        "epoch": 1,
        "kafka_partition": 0,
        "kafka_offset": trade.number,
        "frame_index": 0,
        "trade_date": at.date(),
        "ingest_date": date(2026, 1, 1),
    }
