"""The client of K2's API.

::

    with K2("http://127.0.0.1:8000", key) as k2:
        candles = k2.ohlcv("BTC-USDT", "binance", "7m", "2024-08-08", fill="prev").to_polars()
"""

from k2_client.answers import Answer, Count, Freshness, Meta, Page
from k2_client.client import K2
from k2_client.figures import Bucket, CandleHealth, Snapshot, Summary, Symbol, Twap, Vwap
from k2_client.live import Live, Place
from k2_client.messages import Candles, Quotes, Trades
from k2_client.patience import Patience
from k2_client.problems import (
    BadAnswer,
    ClientError,
    Forbidden,
    InvalidKey,
    InvalidParameter,
    K2Problem,
    LibraryMissing,
    LiveOff,
    MissingKey,
    NoAnswer,
    RateLimited,
    ServerFailed,
    TimedOut,
    TooLarge,
    Unavailable,
    UnknownName,
)
from k2_client.query import Query
from k2_client.rows import (
    Candle,
    DayCondition,
    Gap,
    Instrument,
    Quote,
    Reconciliation,
    Rejected,
    Row,
    Trade,
)

__all__ = [
    "K2",
    "Answer",
    "BadAnswer",
    "Bucket",
    "Candle",
    "CandleHealth",
    "Candles",
    "ClientError",
    "Count",
    "DayCondition",
    "Forbidden",
    "Freshness",
    "Gap",
    "Instrument",
    "InvalidKey",
    "InvalidParameter",
    "K2Problem",
    "LibraryMissing",
    "Live",
    "LiveOff",
    "Meta",
    "MissingKey",
    "NoAnswer",
    "Page",
    "Patience",
    "Place",
    "Query",
    "Quote",
    "Quotes",
    "RateLimited",
    "Reconciliation",
    "Rejected",
    "Row",
    "ServerFailed",
    "Snapshot",
    "Summary",
    "Symbol",
    "TimedOut",
    "TooLarge",
    "Trade",
    "Trades",
    "Twap",
    "Unavailable",
    "UnknownName",
    "Vwap",
]
