from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from k2_market.quote_rules import QUOTE_RULES
from k2_market.records import QUOTE
from k2_market.rules import EARLIEST

QUOTE_SCHEMA, broken = QUOTE_RULES.schema, QUOTE_RULES.broken

AT = datetime(2024, 8, 8, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "exchange": "binance",
    "symbol": "BTC-USDT",
    "exchange_symbol": "BTCUSDT",
    "asset_class": "crypto",
    "quote_id": "50093239212",
    "source_sequence": 50093239212,
    "timestamp": AT,
    "event_time": None,
    "ingestion_timestamp": AT,
    "bid_price": Decimal("61837.63"),
    "bid_quantity": Decimal("3.78826"),
    "ask_price": Decimal("61837.64"),
    "ask_quantity": Decimal("1.54698"),
    "currency": "USDT",
    "quote_conditions": None,
    "vendor_data": None,
    "epoch": 1,
    "kafka_partition": 0,
    "kafka_offset": 3,
    "frame_index": 0,
    "quote_date": AT.date(),
    "ingest_date": AT.date(),
}
# One value for each rule that breaks it and no rule before it.
BREAKING: dict[str, dict[str, Any]] = {
    "unreadable_symbol": {"symbol": "BTCUSDT"},
    "missing_quote_id": {"quote_id": ""},
    "bid_price_not_positive": {"bid_price": Decimal(0)},
    "ask_price_not_positive": {"ask_price": None},
    "bid_quantity_not_positive": {"bid_quantity": Decimal("-0.00000001")},
    "ask_quantity_not_positive": {"ask_quantity": Decimal(0)},
    "crossed_unflagged": {"bid_price": Decimal("61837.65")},
    "time_too_early": {"timestamp": EARLIEST - timedelta(microseconds=1)},
    "time_in_future": {"timestamp": AT + timedelta(hours=1, microseconds=1)},
}


def quotes(*changes: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([GOOD | change for change in changes], schema=QUOTE.schema)


def test_every_rule_has_a_value_that_breaks_it() -> None:
    assert list(BREAKING) == [rule.name for rule in QUOTE_RULES.rules]


@pytest.mark.parametrize("name", BREAKING)
def test_a_row_is_named_with_its_rule_and_its_neighbours_stay(name: str) -> None:
    found = broken(quotes({}, BREAKING[name], {}))
    assert [(b.row, b.reason) for b in found] == [(1, name)]


@pytest.mark.parametrize("name", [n for n in BREAKING if None not in BREAKING[n].values()])
def test_the_pandera_schema_knows_the_same_rules(name: str) -> None:
    with pytest.raises(SchemaErrors) as caught:
        QUOTE_SCHEMA.validate(pl.DataFrame(quotes({}, BREAKING[name])), lazy=True)
    cases = caught.value.failure_cases.select("check", "index").rows()
    assert cases == [(name, 1)]


def test_good_quotes_pass_both() -> None:
    locked = {"bid_price": GOOD["ask_price"], "quote_conditions": ["locked"]}
    crossed = {"bid_price": Decimal(70000), "quote_conditions": ["crossed"]}
    table = quotes({}, locked, crossed, {"timestamp": EARLIEST})
    assert broken(table) == []
    assert QUOTE_SCHEMA.validate(pl.DataFrame(table), lazy=True).height == 4


@given(
    bid=st.decimals("0.00000001", 9_999_999_999, places=8),
    ask=st.decimals("0.00000001", 9_999_999_999, places=8),
    flags=st.none() | st.lists(st.sampled_from(["crossed", "locked", "stale"]), max_size=3),
)
def test_flags_say_crossed_or_locked_exactly_where_the_book_is(
    bid: Decimal, ask: Decimal, flags: list[str] | None
) -> None:
    state = "crossed" if bid > ask else "locked" if bid == ask else None
    told = {flag for flag in flags or () if flag != "stale"}
    row = {"bid_price": bid, "ask_price": ask, "quote_conditions": flags}
    found = [b.reason for b in broken(quotes(row))]
    assert found == ([] if told == ({state} - {None}) else ["crossed_unflagged"])


@given(
    st.fixed_dictionaries(
        {
            name: st.decimals(-1, 1, places=8)
            for name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
        }
    )
)
def test_a_quote_needs_both_prices_and_both_sizes_above_zero(row: dict[str, Decimal]) -> None:
    bid, ask = row["bid_price"], row["ask_price"]
    flags = ["crossed"] if bid > ask else ["locked"] if bid == ask else None
    found = broken(quotes({**row, "quote_conditions": flags}))
    assert (found == []) == all(number > 0 for number in row.values())
