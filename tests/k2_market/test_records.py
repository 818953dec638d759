"""The records that everything else is derived from."""

from __future__ import annotations

import pyarrow as pa
import pytest

from k2_market.errors import UnknownName
from k2_market.exchanges import EXCHANGES, exchange
from k2_market.instruments import canonical_symbol
from k2_market.records import CANDLE, RAW_FRAME, REJECTED, TRADE, Record, with_day

RECORDS = [RAW_FRAME, TRADE, REJECTED, CANDLE]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_keys_orders_and_days_are_columns_and_every_column_is_explained(record: Record) -> None:
    columns = set(record.columns)
    assert len(columns) == len(record.columns)
    assert {*record.key, *record.order, record.day, *record.partition} <= columns
    assert record.schema.field(record.day).type == pa.date32()
    assert all((f.metadata or {}).get(b"doc") for f in record.schema)
    assert not any(record.schema.field(name).nullable for name in record.key)


def test_money_is_exact_and_times_are_utc() -> None:
    for record in RECORDS:
        types = [f.type for f in record.schema]
        assert not any(pa.types.is_floating(t) for t in types)
        assert {t.tz for t in types if pa.types.is_timestamp(t)} <= {"UTC"}
    # A product of a price and a quantity has exactly the digits of a quote sum.
    product = TRADE.schema.field("price").type.scale + TRADE.schema.field("quantity").type.scale
    assert CANDLE.schema.field("quote_volume").type.scale == product


def test_a_record_by_another_day_is_otherwise_the_same() -> None:
    silver = with_day(TRADE, "ingest_date")
    assert (silver.day, silver.partition) == ("ingest_date", ())
    assert (silver.schema, silver.key, silver.order) == (TRADE.schema, TRADE.key, TRADE.order)


def test_exchanges_are_known_by_name_and_their_examples_are_canonical() -> None:
    assert list(EXCHANGES) == [
        "binance",
        "binance_usdm",
        "binance_coinm",
        "kraken",
        "coinbase",
        "bitstamp",
    ]
    assert all(e.name == name for name, e in EXCHANGES.items())
    assert all(canonical_symbol(e.example) == e.example for e in EXCHANGES.values())
    assert exchange("kraken").title == "Kraken spot"
    with pytest.raises(
        UnknownName, match=r"unknown exchange 'nyse'\. Known: binance, binance_coinm"
    ):
        exchange("nyse")
