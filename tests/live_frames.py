"""Binance's live frames as bronze gets them: by connection, with the keys they are routed by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from k2_market.kinds import Kind
from tests.frames import DAY0, Print, frame_table, micros
from tests.lakes import LakeDriver


@dataclass(frozen=True)
class Best:
    """A quote; ``at_ms`` counts from DAY0 and is when it was received as well."""

    update: int
    at_ms: int
    symbol: str = "BTCUSDT"

    @property
    def received_us(self) -> int:
        return micros(DAY0) + self.at_ms * 1000

    def binance(self) -> bytes:
        data = {"u": self.update, "s": self.symbol, "b": "10", "B": "1", "a": "11", "A": "2"}
        return json.dumps({"stream": f"{self.symbol.lower()}@bookTicker", "data": data}).encode()


@dataclass(frozen=True)
class Broken:
    """A frame that cannot be read; ``symbol`` None where not even that."""

    at_ms: int
    symbol: str | None = None

    @property
    def received_us(self) -> int:
        return micros(DAY0) + self.at_ms * 1000

    def binance(self) -> bytes:
        return b'{"stream":"btcusdt@'


def receive_live(
    driver: LakeDriver,
    events: Sequence[Print | Best | Broken],
    connection: int = 1,
    first_sequence: int = 0,
    exchange: str = "binance",
) -> None:
    """They arrive by one connection, on the day on which the first was received."""
    first = driver.next_offset(exchange)
    table = frame_table(
        [(event.binance(), event.received_us) for event in events],
        first,
        exchange=exchange,
        kind=driver.kind,
        arrived=_instant(events[0].received_us),
    )
    n = len(events)
    told = {
        "connection_id": pa.array([connection] * n, pa.int64()),
        "sequence": pa.array(range(first_sequence, first_sequence + n), pa.int64()),
        "origin": pa.array(["live"] * n, pa.string()),
        "exchange_symbol": pa.array([event.symbol for event in events], pa.string()),
    }
    for name, column in told.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), column)
    driver.receive_frames(table, exchange)


def every_half_hour(symbol: str = "BTCUSDT", first_id: int = 1, day: int = 0) -> list[Print]:
    """48 trades of a day with consecutive ids."""
    return [
        Print(first_id + n, day * 86_400_000 + n * 1_800_000 + 60_000, "10", "1", symbol=symbol)
        for n in range(48)
    ]


def quotes_of_a_day(symbol: str = "BTCUSDT") -> list[Best]:
    """A quote each half hour."""
    return [Best(n + 1, n * 1_800_000 + 60_000, symbol) for n in range(48)]


def beside(driver: LakeDriver) -> LakeDriver:
    """Who fills the same lake with quotes."""
    return LakeDriver(driver.lake.settings.home, kind=Kind.QUOTES)


def _instant(us: int) -> datetime:
    return DAY0 + timedelta(microseconds=us - micros(DAY0))
