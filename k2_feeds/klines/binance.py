"""Binance's klines, spot and futures: over REST, and the files of Binance Public Data.

Sources: "Kline/Candlestick data" of Spot, USD-M and COIN-M; "Klines" of Binance Public Data. Twelve
values: open time, open, high, low, close, volume, close time, quote volume, number of trades, taker
buy base volume, taker buy quote volume, and one to be ignored. On COIN-M volume is in contracts and
the quote volumes are in base asset: those are no sums of price x quantity, and are left out.
Times are in milliseconds; in spot files from 2025-01-01 on in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_feeds.klines.source import Asked, KlineSource, instant, millis, not_klines
from k2_feeds.rest import RestClient
from k2_market.klines import Kline

COLUMNS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "",  # close time
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
_IN_BASE = ("quote_volume", "taker_buy_quote_volume")
_WIDTH = 12
_AT_ONCE = 1000
# Above this a time cannot be in milliseconds: as such it would be in the year 5138.
_MICROS_FROM = 100_000_000_000_000
_rows = msgspec.json.Decoder(list[list[Decimal]], strict=False).decode


def kline(values: Sequence[Decimal], *, in_contracts: bool) -> Kline:
    """The kline of a row. Raises ValueError where it has not twelve values."""
    if len(values) != _WIDTH:
        raise ValueError(f"a kline of Binance has {_WIDTH} values, not {len(values)}")
    figures = dict(zip(COLUMNS, values[1:], strict=False))
    for name in ("", *(_IN_BASE if in_contracts else ())):
        del figures[name]
    return Kline(instant(micros(int(values[0]))), figures)


def micros(time: int) -> int:
    """A time in milliseconds or microseconds, whichever it is, in microseconds."""
    return time if time >= _MICROS_FROM else time * 1000


@dataclass(frozen=True)
class _Ask:
    """``klines`` of one market: ``weight`` is what a page of 1,000 costs."""

    path: str
    weight: int
    in_contracts: bool = False
    longest: timedelta | None = None

    def __call__(self, client: RestClient, asked: Asked) -> Iterator[Kline]:
        for page in asked.pages(_AT_ONCE, self.longest):
            query: dict[str, str | int] = {
                "symbol": page.name,
                "interval": page.frame.name,
                "startTime": millis(page.start),
                "endTime": millis(page.end) - 1,
                "limit": _AT_ONCE,
            }
            body = client.get(self.path, query, weight=self.weight)
            try:
                found = [kline(row, in_contracts=self.in_contracts) for row in _rows(body)]
            except WIRE_ERRORS:
                raise not_klines(self.path, body) from None
            yield from found


def _source(path: str, weight: int, **more: object) -> KlineSource:
    return KlineSource(path, _Ask(path, weight, **more))  # type: ignore[arg-type]


SPOT = _source("/api/v3/klines", 2)
USDM = _source("/fapi/v1/klines", 5)
# "The time between startTime and endTime can not be longer than 200 days."
COINM = _source("/dapi/v1/klines", 5, in_contracts=True, longest=timedelta(days=200))
