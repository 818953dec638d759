"""Bitstamp's candles.

Source: "OHLC data" of the HTTP API v2: objects of timestamp, open, high, low, close and volume, all
text, 1,000 at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_feeds.klines.source import Asked, KlineSource, instant, not_klines, seconds
from k2_feeds.rest import RestClient
from k2_market.klines import Kline

_AT_ONCE = 1000


class _Candle(msgspec.Struct):
    timestamp: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class _Data(msgspec.Struct):
    ohlc: list[_Candle]


class _Answer(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Answer, strict=False).decode


def _ask(client: RestClient, asked: Asked) -> Iterator[Kline]:
    path = f"/api/v2/ohlc/{asked.name}/"
    for page in asked.pages(_AT_ONCE):
        query: dict[str, str | int] = {
            "step": page.frame.micros // 1_000_000,
            "limit": _AT_ONCE,
            "start": seconds(page.start),
            "end": seconds(page.end) - 1,
        }
        body = client.get(path, query)
        try:
            found = [_kline(candle) for candle in _decode(body).data.ohlc]
        except WIRE_ERRORS:
            raise not_klines(path, body) from None
        yield from (k for k in found if page.start <= k.window_start < page.end)


def _kline(candle: _Candle) -> Kline:
    names = ("open", "high", "low", "close", "volume")
    figures = {name: getattr(candle, name) for name in names}
    return Kline(instant(candle.timestamp * 1_000_000), figures)


BITSTAMP = KlineSource("/api/v2/ohlc/<pair>/", _ask)
