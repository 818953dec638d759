"""A small lake in which every table that the API serves has rows, written as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from k2_lake.commit import commit
from k2_lake.history import Mode
from k2_lake.tables import (
    CONDITION_TABLE,
    GAPS_TABLE,
    RECONCILIATION_TABLE,
    REJECTED_TABLE,
    gold_name,
    table_def,
)
from k2_market.kinds import Kind
from tests.k2_api.lake_of_trades import MIDNIGHT, TradeLake, many

DAY = MIDNIGHT.date()
_AT = datetime(2024, 8, 10, 12, tzinfo=UTC)


def lake_of_everything(home: Path) -> TradeLake:
    """Trades and candles of two symbols on two exchanges, and a few rows of all else."""
    lake = TradeLake(home)
    lake.add(
        [
            *many(60),
            *many(40, first=1001, own="ETHUSDT", symbol="ETH-USDT"),
            *many(30, exchange="kraken", own="XBT/USD", symbol="BTC-USD"),
        ]
    )
    _write(lake, gold_name(Kind.QUOTES), [_quote(n) for n in range(1, 41)])
    _write(lake, GAPS_TABLE, [_gap(n, "open" if n % 3 else "repaired") for n in range(9)])
    _write(lake, CONDITION_TABLE, [_condition(n) for n in range(4)])
    _write(lake, RECONCILIATION_TABLE, [_compared(n) for n in range(6)])
    _write(lake, REJECTED_TABLE, [_rejected(n) for n in range(5)])
    return lake


def _write(lake: TradeLake, table: str, rows: Sequence[Mapping[str, object]]) -> None:
    definition = table_def(table)
    order = [(column, "ascending") for column in definition.record.order]
    made = pa.Table.from_pylist(list(rows), schema=definition.schema).sort_by(order)
    days = {row[definition.record.day] for row in rows}
    commit(lake.lake.table(table), add=[made], mode=Mode.APPEND, days=days)  # type: ignore[arg-type]


def _quote(n: int) -> dict[str, object]:
    at = MIDNIGHT + timedelta(seconds=n)
    return {
        "exchange": "binance",
        "symbol": "BTC-USDT",
        "exchange_symbol": "BTCUSDT",
        "asset_class": "crypto",
        "quote_id": str(n),
        "source_sequence": n,
        "timestamp": at,
        "event_time": None,
        "ingestion_timestamp": at,
        "bid_price": Decimal("60000.10000000"),
        "bid_quantity": Decimal("1.50000000"),
        "ask_price": Decimal("60000.20000000"),
        "ask_quantity": Decimal("0.00000001"),
        "currency": "USDT",
        "quote_conditions": None,
        "vendor_data": None,
        "epoch": 1,
        "kafka_partition": 0,
        "kafka_offset": n,
        "frame_index": 0,
        "quote_date": at.date(),
        "ingest_date": date(2026, 1, 1),
    }


def _gap(n: int, state: str) -> dict[str, object]:
    before = MIDNIGHT + timedelta(hours=n)
    return {
        "exchange": "binance",
        "symbol": "BTC-USDT",
        "first_missing_id": 100 * n,
        "last_missing_id": 100 * n + 4,
        "missing": 5,
        "before_at": before,
        "after_at": before + timedelta(seconds=3),
        "cause": "disconnect",
        "state": state,
        "reason": None,
        "detected_at": before + timedelta(seconds=4),
        "repaired_at": _AT if state == "repaired" else None,
        "gap_date": before.date(),
    }


def _condition(n: int) -> dict[str, object]:
    return {
        "exchange": "binance",
        "symbol": "BTC-USDT" if n < 3 else "NEW-USDT",
        "kind": "trades" if n % 2 == 0 else "quotes",
        "day": DAY + timedelta(days=n // 2),
        "condition": ("available", "degraded", "pending", "missing")[n],
        "reasons": [] if n == 0 else ["5 trades missing in 1 gap"],
        "rows": 60 - n,
        "gaps": n,
        "missing_ids": 5 * n,
        "rejected": 0,
        "connections": 1,
        "disconnects": n,
        "lost_frames": 0,
        "longest_silence_us": 1_000_000,
        "first_at": MIDNIGHT,
        "last_at": MIDNIGHT + timedelta(hours=1),
        "snapshots": [("gold.trades", "1")],
        "computed_at": _AT,
    }


def _compared(n: int) -> dict[str, object]:
    start = MIDNIGHT + timedelta(minutes=n)
    return {
        "exchange": "binance",
        "symbol": "BTC-USDT",
        "timeframe": "1m" if n < 5 else "5m",
        "window_start": start,
        "outcome": "matched" if n else "differs",
        "fields": ["open", "close"],
        "differing": [] if n else ["close"],
        "ours": [("close", "60000.1")],
        "theirs": [("close", "60000.1" if n else "60000.2")],
        "reason": None,
        "source": "rest",
        "candles_snapshot": 1,
        "compared_at": _AT,
        "window_date": start.date(),
    }


def _rejected(n: int) -> dict[str, object]:
    return {
        "exchange": "kraken",
        "kind": "trades",
        "reason": "price_not_positive" if n else "no_such_symbol",
        "detail": f"price '-{n}'",
        "epoch": 1,
        "kafka_partition": 0,
        "kafka_offset": n,
        "frame_index": 0,
        "received_at": MIDNIGHT + timedelta(seconds=n),
        "payload": b'{"price":"-1"}\xff',
        "ingest_date": DAY,
    }
