"""Frames by hand, in the shape of the exchanges' public message formats, and tables of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa

from k2_market.columns import filled
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME

DAY0 = datetime(2024, 8, 8, tzinfo=UTC)
ARRIVAL = datetime(2026, 3, 1, 12, tzinfo=UTC)


def micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond


@dataclass(frozen=True)
class Print:
    """A trade as a test thinks of it; ``at_ms`` counts from DAY0."""

    trade_id: int
    at_ms: int
    price: str
    quantity: str
    buyer_is_maker: bool = False
    symbol: str = "BTCUSDT"
    execution: str | None = None
    received_ms: int | None = None

    @property
    def time_ms(self) -> int:
        return micros(DAY0) // 1000 + self.at_ms

    @property
    def received_us(self) -> int:
        later = self.at_ms + 5 if self.received_ms is None else self.received_ms
        return micros(DAY0) + later * 1000

    def binance(self) -> bytes:
        data: dict[str, object] = {
            "e": "trade",
            "E": self.time_ms + 1,
            "s": self.symbol,
            "t": self.trade_id,
            "p": self.price,
            "q": self.quantity,
            "T": self.time_ms,
            "m": self.buyer_is_maker,
        }
        if self.execution is not None:
            data["X"] = self.execution
        frame = {"stream": f"{self.symbol.lower()}@trade", "data": data}
        return json.dumps(frame, separators=(",", ":")).encode()


def frame_table(
    payloads: Sequence[tuple[bytes, int]],
    first_offset: int = 0,
    *,
    exchange: str = "binance",
    kind: Kind = Kind.TRADES,
    partition: int = 0,
    arrived: datetime = ARRIVAL,
) -> pa.Table:
    """Raw frames without epoch, as a topic reader gives them: (payload, received_at in us)."""
    n = len(payloads)
    columns = {
        "kafka_partition": [partition] * n,
        "kafka_offset": list(range(first_offset, first_offset + n)),
        "kafka_timestamp": [arrived] * n,
        "kafka_topic": [f"market.crypto.{kind}.{exchange}.raw"] * n,
        "exchange_symbol": [None] * n,
        "payload": [p for p, _ in payloads],
        "received_at": [
            datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
            for _, us in payloads
        ],
        "connection_id": [1] * n,
        "sequence": list(range(first_offset, first_offset + n)),
        "origin": ["replay"] * n,
        "ingest_date": [arrived.date()] * n,
    }
    schema = pa.schema([f for f in RAW_FRAME.schema if f.name != "epoch"])
    return filled(columns, schema, n)


def prints_table(prints: Iterable[Print], first_offset: int = 0, **where: object) -> pa.Table:
    """The Binance frames of these trades."""
    return frame_table([(p.binance(), p.received_us) for p in prints], first_offset, **where)  # type: ignore[arg-type]


def bronze_rows(frames: pa.Table, epoch: int = 1) -> pa.Table:
    """Frames as bronze holds them."""
    epochs = pa.array([epoch] * frames.num_rows, pa.int32())
    return frames.append_column("epoch", epochs).select(RAW_FRAME.columns).cast(RAW_FRAME.schema)


def trade_days(prints: Iterable[Print]) -> set[date]:
    return {datetime.fromtimestamp(p.time_ms // 1000, UTC).date() for p in prints}
