"""Kraken's candles.

Source: "Get OHLC Data" of the API reference: time, open, high, low, close, vwap, volume, count; the
720 newest at most, "older data cannot be retrieved", and the last is of a window still open. The
VWAP is cut to the pair's price decimals.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_feeds.klines.source import Asked, KlineSource, instant, not_klines, seconds
from k2_feeds.rest import RestClient
from k2_market.errors import RequestRefused
from k2_market.klines import Kline

PATH = "/0/public/OHLC"
_COLUMNS = ("open", "high", "low", "close", "vwap", "volume", "trade_count")
_PRICES = _COLUMNS[:5]
_OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}


class _Answer(msgspec.Struct):
    result: dict[str, msgspec.Raw] = {}
    error: list[str] = []


_decode = msgspec.json.Decoder(_Answer).decode
_rows = msgspec.json.Decoder(list[list[Decimal]], strict=False).decode


def _ask(client: RestClient, asked: Asked) -> Iterator[Kline]:
    base, _, quote = asked.name.partition("/")
    pair = _OLD_NAMES.get(base, base) + _OLD_NAMES.get(quote, quote)
    # What it answers begins after ``since``.
    since = seconds(asked.start) - 1
    minutes = asked.frame.micros // 60_000_000
    body = client.get(PATH, {"pair": pair, "interval": minutes, "since": since})
    try:
        answer = _decode(body)
        if answer.error:
            raise RequestRefused(f"kraken refused GET {PATH}: {', '.join(answer.error)}.")
        del answer.result["last"]
        found = [_kline(row) for raw in answer.result.values() for row in _rows(raw)]
    except (*WIRE_ERRORS, KeyError, ArithmeticError):
        raise not_klines(PATH, body) from None
    yield from found


def _kline(row: list[Decimal]) -> Kline:
    figures = dict(zip(_COLUMNS, row[1:], strict=True))
    # The pair's decimals are those of its prices, however many the VWAP happens to be written with.
    exponent = min(int(figures[name].as_tuple().exponent) for name in _PRICES)
    figures["vwap"] = figures["vwap"].quantize(Decimal(1).scaleb(exponent))
    return Kline(instant(int(row[0]) * 1_000_000), figures)


KRAKEN = KlineSource(PATH, _ask, keeps_all=False)
