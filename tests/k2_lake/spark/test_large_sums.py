"""Candles are exact up to the largest sums there may be, and beyond them there is an error."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal, localcontext

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.candles import candle_sql
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import Engine
from k2_lake.spark.engine import SparkEngine
from k2_lake.spark.settings import SparkSettings
from k2_market.records import TRADE
from k2_market.timeframes import timeframe
from k2_market.trade_rules import LARGEST_NOTIONAL
from tests.frames import DAY0
from tests.lakes import open_lake

UNIT = Decimal("0.00000001")
HIGHEST = 10**18 - 1
LARGEST_SUM = 5 * 10**21
COLUMNS = [
    "exchange",
    "symbol",
    "trade_id",
    "source_sequence",
    "price",
    "quantity",
    "trade_count",
    "side",
    "timestamp",
    "candle_eligible",
]
SCHEMA = pa.schema([TRADE.schema.field(name) for name in COLUMNS])
Trade = tuple[Decimal, Decimal]
# Of a candle: volume, quote_volume and vwap.
Sums = tuple[Decimal, Decimal, Decimal]


def _units(most: int) -> st.SearchStrategy[int]:
    """Any number of units, many of them next to the largest or to a power of ten."""
    near = st.integers(0, 5).map(lambda n: most - n)
    powers = st.integers(0, len(str(most)) - 1).map(lambda n: 10**n)
    return st.one_of(st.integers(1, most), near, powers)


@st.composite
def windows(draw: st.DrawFn) -> list[Trade]:
    """Trades of one window whose quote volume comes close to some sum, the largest often."""
    most = draw(st.sampled_from([LARGEST_SUM, LARGEST_SUM, 10**18, 10**6]))
    prices = draw(st.lists(_units(HIGHEST), min_size=1, max_size=5))
    quantities = []
    for price in prices:
        share = most * 10**16 // len(prices) - draw(st.integers(0, 1000))
        largest = min(max(share // price, 1), 10**28 - 1)
        quantities.append(draw(st.one_of(st.just(largest), _units(largest))))
    return [(p * UNIT, q * UNIT) for p, q in zip(prices, quantities, strict=True)]


def sums(engine: Engine, trades: Sequence[Sequence[Trade]]) -> list[Sums]:
    rows = [
        dict(
            zip(COLUMNS, ("x", f"S{w:04d}-USDT", str(n), n, *pq, 1, "buy", DAY0, True), strict=True)
        )
        for w, window in enumerate(trades)
        for n, pq in enumerate(window)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    found = engine.query(candle_sql(timeframe("1m")), {"trades": table}).to_pylist()
    return [(c["volume"], c["quote_volume"], c["vwap"]) for c in found]


def expected(trades: Sequence[Sequence[Trade]]) -> list[Sums]:
    with localcontext(prec=80):
        each = [(sum(q for _, q in w), sum(p * q for p, q in w)) for w in trades]
        return [(Decimal(v), Decimal(s), (s / v).quantize(UNIT, ROUND_FLOOR)) for v, s in each]


@settings(max_examples=25, deadline=None)
@given(st.lists(windows(), min_size=1, max_size=30))
def test_duckdb_is_exact_up_to_the_largest_sums(trades: list[list[Trade]]) -> None:
    assert sums(DuckDBEngine(), trades) == expected(trades)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory, spark_settings: SparkSettings) -> SparkEngine:
    return SparkEngine(spark_settings, open_lake(tmp_path_factory.mktemp("large")))


@pytest.mark.spark
@settings(max_examples=3, deadline=None)
@given(trades=st.lists(windows(), min_size=30, max_size=60))
def test_spark_is_exact_up_to_the_largest_sums(
    spark: SparkEngine, trades: list[list[Trade]]
) -> None:
    assert sums(spark, trades) == expected(trades)


HIGH = HIGHEST * UNIT
LARGEST = Decimal(10**8)


def test_five_thousand_of_the_largest_trades_fit_in_a_window() -> None:
    assert HIGH * LARGEST < LARGEST_NOTIONAL
    trades = [[(HIGH, LARGEST)] * 5000]
    assert sums(DuckDBEngine(), trades) == expected(trades)


TOO_MUCH = [(HIGH, LARGEST * 6000), (HIGH, LARGEST * 6000)]


def test_a_sum_that_does_not_fit_is_an_error_on_duckdb() -> None:
    with pytest.raises(Exception, match=r"Overflow in SUM of DECIMAL"):
        sums(DuckDBEngine(), [TOO_MUCH])


@pytest.mark.spark
def test_a_sum_that_does_not_fit_is_an_error_on_spark(spark: SparkEngine) -> None:
    with pytest.raises(Exception, match=r"cannot be represented as Decimal"):
        sums(spark, [TOO_MUCH])
