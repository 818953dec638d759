from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pandera.errors import SchemaErrors

from k2_market.instrument_rules import INSTRUMENT_SCHEMA, ambiguous_names
from k2_market.listing import INSTRUMENT

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))
BITCOIN: dict[str, Any] = {
    "exchange": "kraken",
    "symbol": "BTC-USD",
    "exchange_symbol": "BTC/USD",
    "names": ["BTC/USD", "XBTUSD"],
    "base": "BTC",
    "quote": "USD",
    "type": "spot",
    "tick_size": "0.1",
    "lot_size": "0.00000001",
    "status": "trading",
    "valid_from": JANUARY,
}


def table(*rows: dict[str, Any]) -> pa.Table:
    steps = ("tick_size", "lot_size", "min_notional", "contract_size")
    typed = [
        {
            k: pa.scalar(v).cast(INSTRUMENT.schema.field(k).type).as_py() if k in steps else v
            for k, v in {**BITCOIN, **row}.items()
        }
        for row in rows
    ]
    return pa.Table.from_pylist(typed, schema=INSTRUMENT.schema)


def broken(rows: pa.Table) -> set[str]:
    try:
        INSTRUMENT_SCHEMA.validate(pl.DataFrame(rows), lazy=True)
    except SchemaErrors as errors:
        return set(errors.failure_cases["check"].to_list())
    return set()


def test_versions_that_follow_one_another_are_fine() -> None:
    rows = table({"valid_to": FEBRUARY}, {"valid_from": FEBRUARY, "tick_size": "1"})
    assert broken(rows) == set()
    assert ambiguous_names(rows) == []


@pytest.mark.parametrize(
    ("rows", "rules"),
    [
        ([{"tick_size": "0"}], {"tick_positive"}),
        ([{"lot_size": "-1"}], {"lot_positive"}),
        ([{"type": "option"}], {"type_known"}),
        ([{"contract_size": "100"}], {"contract_has_currency"}),
        ([{"names": ["XBTUSD"]}], {"its_own_name"}),
        ([{"valid_to": JANUARY}], {"begins_before_it_ends"}),
        ([{}, {"valid_from": FEBRUARY}], {"one_is_current", "no_overlap"}),
        (
            [{"valid_to": MARCH}, {"valid_from": FEBRUARY}],
            {"no_overlap"},
        ),
    ],
)
def test_each_rule_is_seen_to_be_broken(rows: list[dict[str, Any]], rules: set[str]) -> None:
    assert broken(table(*rows)) == rules


def test_a_name_of_two_current_instruments_is_told_and_an_old_one_is_not() -> None:
    other = {"symbol": "BTC-EUR", "quote": "EUR", "names": ["BTC/USD", "xbtusd"]}
    assert ambiguous_names(table({}, other)) == ["kraken BTC/USD", "kraken XBTUSD"]
    assert ambiguous_names(table({"valid_to": FEBRUARY}, other)) == []
    assert ambiguous_names(table({}, {**other, "exchange": "bitstamp"})) == []
