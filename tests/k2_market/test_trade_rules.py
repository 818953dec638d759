from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pandera.errors import SchemaErrors

from k2_market.records import TRADE
from k2_market.rules import EARLIEST
from k2_market.trade_rules import TRADE_RULES

TRADE_SCHEMA, broken = TRADE_RULES.schema, TRADE_RULES.broken

AT = datetime(2024, 8, 8, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "exchange": "binance",
    "symbol": "BTC-USDT",
    "exchange_symbol": "BTCUSDT",
    "asset_class": "crypto",
    "trade_id": "7",
    "source_sequence": 7,
    "timestamp": AT,
    "event_time": None,
    "ingestion_timestamp": AT,
    "price": Decimal("61837.63"),
    "quantity": Decimal("0.02"),
    "currency": "USDT",
    "side": "buy",
    "trade_conditions": None,
    "vendor_data": [("ord_type", "limit")],
    "candle_eligible": True,
    "trade_count": 1,
    "epoch": 1,
    "kafka_partition": 0,
    "kafka_offset": 3,
    "frame_index": 0,
    "trade_date": AT.date(),
    "ingest_date": AT.date(),
}
# One value for each rule that breaks it and no rule before it.
BREAKING: dict[str, dict[str, Any]] = {
    "unreadable_symbol": {"symbol": "BTCUSDT"},
    "missing_trade_id": {"trade_id": ""},
    "price_not_positive": {"price": Decimal(0)},
    "quantity_not_positive": {"quantity": Decimal("-0.00000001")},
    "notional_too_large": {"price": Decimal(9999999999), "quantity": Decimal(100000001)},
    "unknown_side": {"side": "hold"},
    "time_too_early": {"timestamp": EARLIEST - timedelta(microseconds=1)},
    "time_in_future": {"timestamp": AT + timedelta(hours=1, microseconds=1)},
    "trade_count_not_positive": {"trade_count": 0},
}


def trades(*changes: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([GOOD | change for change in changes], schema=TRADE.schema)


def test_every_rule_has_a_value_that_breaks_it() -> None:
    assert list(BREAKING) == [rule.name for rule in TRADE_RULES.rules]


@pytest.mark.parametrize("name", BREAKING)
def test_a_row_is_named_with_its_rule_and_its_neighbours_stay(name: str) -> None:
    found = broken(trades({}, BREAKING[name], {}))
    assert [(b.row, b.reason) for b in found] == [(1, name)]


@pytest.mark.parametrize("name", BREAKING)
def test_the_pandera_schema_knows_the_same_rules(name: str) -> None:
    with pytest.raises(SchemaErrors) as caught:
        TRADE_SCHEMA.validate(pl.DataFrame(trades({}, BREAKING[name])), lazy=True)
    cases = caught.value.failure_cases.select("check", "index").rows()
    assert cases == [(name, 1)]


def test_good_trades_pass_both() -> None:
    table = trades({}, {"timestamp": AT + timedelta(hours=1)}, {"timestamp": EARLIEST})
    assert broken(table) == []
    assert TRADE_SCHEMA.validate(pl.DataFrame(table), lazy=True).height == 3


def test_the_first_broken_rule_gives_the_reason_and_the_detail_shows_the_value() -> None:
    (found,) = broken(trades({"price": Decimal("-1.5"), "side": "hold"}))
    assert (found.reason, found.detail) == (
        "price_not_positive",
        "a price is above zero, found '-1.50000000'",
    )


def test_an_instant_beyond_every_calendar_is_only_another_breach() -> None:
    table = trades({}).set_column(
        TRADE.columns.index("timestamp"),
        TRADE.schema.field("timestamp"),
        pa.array([2**62], pa.int64()).cast(TRADE.schema.field("timestamp").type),
    )
    assert [b.reason for b in broken(table)] == ["time_in_future"]


def test_a_column_of_another_type_is_refused_by_the_schema() -> None:
    frame = pl.DataFrame(trades({})).with_columns(pl.col("price").cast(pl.Float64))
    with pytest.raises(SchemaErrors, match="price"):
        TRADE_SCHEMA.validate(frame, lazy=True)
