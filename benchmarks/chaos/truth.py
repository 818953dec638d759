"""What the tables must hold, computed from what Kafka was given, and how far they are from it.

Nothing of the product computes here: sums are Python's exact decimals and integers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

from benchmarks.chaos.market import EXCHANGE, SYMBOLS, Sent, Trade
from k2_lake.catalog import Lake
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.scan import planned
from k2_lake.tables import REJECTED_TABLE, TRADES_TABLE, bronze_name, silver_name, table_def
from k2_market.kinds import Kind

BRONZE, SILVER = bronze_name(EXCHANGE, Kind.TRADES), silver_name(EXCHANGE, Kind.TRADES)
LENGTHS = {"1m": 60, "5m": 300, "30m": 1800, "1h": 3600, "1d": 86_400}
_PLACE = ("kafka_partition", "kafka_offset")
_CANDLE = (
    *("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"),
    *("taker_buy_quote_volume", "vwap", "trade_count", "first_trade_id", "last_trade_id"),
)
# A table's rows by what makes them one: the columns of the key, then those of the value.
_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    BRONZE: (_PLACE, ("payload",)),
    SILVER: (_PLACE, ("symbol", "trade_id")),
    REJECTED_TABLE: (_PLACE, ("payload",)),
    TRADES_TABLE: (
        ("symbol", "trade_id"),
        ("timestamp", "price", "quantity", "side", "ingestion_timestamp", *_PLACE),
    ),
    **{f"gold.ohlcv_{name}": (("symbol", "window_start"), _CANDLE) for name in LENGTHS},
}

Rows = Mapping[Hashable, Hashable]


@dataclass(frozen=True)
class Difference:
    """Rows that are not there, that are there more than once, and that should not be as they are.

    ``wrong`` counts rows of another value than the truth's, and rows that nobody sent.
    """

    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    def __add__(self, other: Difference) -> Difference:
        """Both together."""
        return Difference(
            self.lost + other.lost, self.doubled + other.doubled, self.wrong + other.wrong
        )

    @property
    def total(self) -> int:
        """All of them."""
        return self.lost + self.doubled + self.wrong

    def __bool__(self) -> bool:
        return self.total > 0


def differences(lake: Lake, sent: Sequence[Sent]) -> dict[str, Difference]:
    """By table, how far it is from the truth."""
    expected = truth(sent)
    return {name: _difference(expected[name], rows(lake, name)) for name in _COLUMNS}


def rows(lake: Lake, name: str) -> list[tuple[Hashable, Hashable]]:
    """Key and value of every row that a reader finds now."""
    key, value = _COLUMNS[name]
    schema = table_def(name).schema
    engine = DuckDBEngine(io=lake.io)
    found = engine.query(
        f"select {', '.join((*key, *value))} from source",
        {"source": planned(lake.table(name), schema)},
    )
    columns = [found[c].to_pylist() for c in (*key, *value)]
    at = len(key)
    return [(row[:at], row[at:]) for row in zip(*columns, strict=True)]


def truth(sent: Sequence[Sent]) -> dict[str, Rows]:
    """By table, key and value of every row that must be there."""
    good = [(s, s.trade) for s in sent if s.trade is not None]
    first = _first_of_each(good)
    return {
        BRONZE: {(s.partition, s.offset): (s.payload,) for s in sent},
        SILVER: {(s.partition, s.offset): (_symbol(t), str(t.trade_id)) for s, t in good},
        REJECTED_TABLE: {(s.partition, s.offset): (s.payload,) for s in sent if s.bad},
        TRADES_TABLE: {(_symbol(t), str(t.trade_id)): _gold(s, t) for s, t in first},
        **{f"gold.ohlcv_{n}": _candles([t for _, t in first], s) for n, s in LENGTHS.items()},
    }


def _difference(expected: Rows, found: Iterable[tuple[Hashable, Hashable]]) -> Difference:
    found = list(found)
    counted = Counter(key for key, _ in found)
    return Difference(
        lost=sum(key not in counted for key in expected),
        doubled=sum(n - 1 for n in counted.values()),
        wrong=sum(expected.get(key, found) != value for key, value in dict(found).items()),
    )


def _first_of_each(good: Iterable[tuple[Sent, Trade]]) -> list[tuple[Sent, Trade]]:
    """Of repeats the one that was received first, and of those Kafka's first."""
    ordered = sorted(good, key=lambda g: (g[0].received_us, g[0].partition, g[0].offset))
    kept: dict[tuple[str, int], tuple[Sent, Trade]] = {}
    for frame, trade in ordered:
        kept.setdefault((trade.symbol, trade.trade_id), (frame, trade))
    return list(kept.values())


def _gold(frame: Sent, trade: Trade) -> tuple[Hashable, ...]:
    received = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=frame.received_us)
    side = "sell" if trade.buyer_is_maker else "buy"
    figures = (Decimal(trade.price), Decimal(trade.quantity))
    return (trade.at, *figures, side, received, frame.partition, frame.offset)


def _candles(trades: Iterable[Trade], seconds: int) -> Rows:
    windows: dict[tuple[str, datetime], list[Trade]] = defaultdict(list)
    for trade in trades:
        second = int(trade.at.timestamp())
        start = datetime.fromtimestamp(second - second % seconds, UTC)
        windows[_symbol(trade), start].append(trade)
    return {window: _candle(inside) for window, inside in windows.items()}


def _candle(trades: list[Trade]) -> tuple[Any, ...]:
    with localcontext(prec=80):
        by_id = sorted(trades, key=lambda t: t.trade_id)
        prices = [Decimal(t.price) for t in by_id]
        sums = [_sums(by_id), _sums([t for t in by_id if not t.buyer_is_maker])]
        (volume, quote), (bought, bought_quote) = sums
        # Cut after eight decimals, not rounded, as exchanges do.
        vwap = Decimal(int(quote * 10**8 / volume)) / 10**8
        ends = (str(by_id[0].trade_id), str(by_id[-1].trade_id))
        shape = (prices[0], max(prices), min(prices), prices[-1])
        return (*shape, volume, quote, bought, bought_quote, vwap, len(by_id), *ends)


def _sums(trades: Iterable[Trade]) -> tuple[Decimal, Decimal]:
    pairs = [(Decimal(t.quantity), Decimal(t.price) * Decimal(t.quantity)) for t in trades]
    return sum((q for q, _ in pairs), Decimal()), sum((v for _, v in pairs), Decimal())


def _symbol(trade: Trade) -> str:
    return SYMBOLS[trade.symbol]
