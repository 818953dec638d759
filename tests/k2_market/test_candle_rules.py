"""Every rule of a candle is seen to fail for the row that breaks it alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
import pytest
from pandera.errors import SchemaErrors

from k2_market.candle_rules import candle_schema
from k2_market.errors import UnknownName
from k2_market.records import CANDLE
from k2_market.timeframes import TIMEFRAMES

START = datetime(2024, 8, 8, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "exchange": "binance",
    "symbol": "BTC-USDT",
    "window_start": START,
    "window_end": START + timedelta(minutes=5),
    "open": Decimal(10),
    "high": Decimal(12),
    "low": Decimal(9),
    "close": Decimal(11),
    "volume": Decimal(2),
    "quote_volume": Decimal(21),
    "taker_buy_volume": Decimal(1),
    "taker_buy_quote_volume": Decimal(10),
    "vwap": Decimal("10.5"),
    "trade_count": 2,
    "first_trade_id": "1",
    "last_trade_id": "2",
    "window_date": date(2024, 8, 8),
}
BROKEN: dict[str, dict[str, Any]] = {
    "high_is_highest": {"high": Decimal("10.9")},
    "low_is_lowest": {"low": Decimal("10.1")},
    "prices_positive": {"low": Decimal(0)},
    "volume_positive": {"volume": Decimal(0), "taker_buy_volume": Decimal(0)},
    "quote_volume_positive": {"quote_volume": Decimal(0), "taker_buy_quote_volume": Decimal(0)},
    "trade_count_positive": {"trade_count": 0},
    "taker_buy_volume_is_a_part": {"taker_buy_volume": Decimal("2.00000001")},
    "taker_buy_quote_is_a_part": {"taker_buy_quote_volume": Decimal(-1)},
    "window_aligned": {
        "window_start": START + timedelta(minutes=1),
        "window_end": START + timedelta(minutes=6),
    },
    "window_length": {"window_end": START + timedelta(minutes=1)},
    "window_on_its_day": {"window_date": date(2024, 8, 9)},
}
ALONE = {"vwap": {"vwap": Decimal(13)}, "below": {"vwap": Decimal("8.9")}}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(pa.Table.from_pylist(list(rows), schema=CANDLE.schema))


def broken_rules(schema: pandera.DataFrameSchema, rows: pl.DataFrame) -> set[str]:
    try:
        schema.validate(rows, lazy=True)
    except SchemaErrors as errors:
        return set(errors.failure_cases["check"].to_list())
    return set()


def test_a_sound_candle_meets_all_rules() -> None:
    assert broken_rules(candle_schema("5m"), frame(GOOD)) == set()


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_is_broken_by_the_row_made_for_it_and_no_other_is(rule: str) -> None:
    assert broken_rules(candle_schema("5m"), frame(GOOD | BROKEN[rule])) == {rule}


@pytest.mark.parametrize(
    ("case", "rule"), [("vwap", "high_is_highest"), ("below", "low_is_lowest")]
)
def test_the_average_lies_between_low_and_high(case: str, rule: str) -> None:
    assert broken_rules(candle_schema("5m"), frame(GOOD | ALONE[case])) == {rule}


def test_there_is_a_case_for_every_rule() -> None:
    assert {c.name for c in candle_schema("5m").checks} == set(BROKEN)


def test_a_window_stands_once() -> None:
    other = GOOD | {"exchange": "kraken"}
    assert broken_rules(candle_schema("5m"), frame(GOOD, other)) == set()
    assert broken_rules(candle_schema("5m"), frame(GOOD, other, GOOD)) != set()


def test_each_timeframe_has_its_own_windows() -> None:
    for name, timeframe in TIMEFRAMES.items():
        row = GOOD | {"window_end": START + timeframe.length}
        assert broken_rules(candle_schema(name), frame(row)) == set()
    assert broken_rules(candle_schema("1h"), frame(GOOD)) == {"window_length"}
    with pytest.raises(UnknownName, match="unknown timeframe '2h'"):
        candle_schema("2h")


def test_columns_and_types_are_those_of_the_record() -> None:
    schema = candle_schema("5m")
    assert list(schema.columns) == CANDLE.columns
    rows = frame(GOOD)
    assert broken_rules(schema, rows.drop("vwap")) != set()
    assert broken_rules(schema, rows.with_columns(pl.col("vwap").cast(pl.Float64))) != set()
