"""Coinbase's candles.

Source: "Get product candles" of the Exchange API: time, low, high, open, close, volume, newest
first; 300 at most, the end inclusive, and some before the start perhaps. "No data is published for
intervals where there are no ticks", and there are none of 30 minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_feeds.klines.source import Asked, KlineSource, instant, not_klines, seconds
from k2_feeds.rest import RestClient
from k2_market.klines import Kline

_COLUMNS = ("low", "high", "open", "close", "volume")
_AT_ONCE = 300
_rows = msgspec.json.Decoder(list[list[Decimal]], strict=False).decode


def _ask(client: RestClient, asked: Asked) -> Iterator[Kline]:
    path = f"/products/{asked.name}/candles"
    for page in asked.pages(_AT_ONCE):
        query: dict[str, str | int] = {
            "granularity": page.frame.micros // 1_000_000,
            "start": seconds(page.start),
            "end": seconds(page.end) - 1,
        }
        body = client.get(path, query)
        try:
            found = [_kline(row) for row in _rows(body)]
        except WIRE_ERRORS:
            raise not_klines(path, body) from None
        yield from (k for k in found if page.start <= k.window_start < page.end)


def _kline(row: list[Decimal]) -> Kline:
    figures = dict(zip(_COLUMNS, row[1:], strict=True))
    return Kline(instant(int(row[0]) * 1_000_000), figures)


COINBASE = KlineSource("/products/<id>/candles", _ask, timeframes=("1m", "5m", "1h", "1d"))
