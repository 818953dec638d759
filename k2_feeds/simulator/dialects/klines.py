"""The exchanges' candles over REST, for the simulator: made of what traded, the withheld as well.

Sources: those named in ``k2_feeds/klines``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from itertools import groupby

from k2_feeds.archives.kraken_pairs import split_name
from k2_feeds.simulator.dialects.dialect import dump
from k2_feeds.simulator.dialects.histories import Traded
from k2_feeds.simulator.synthetic import Fill, is_contract, terms
from k2_market.instruments import canonical_symbol
from k2_market.timeframes import TIMEFRAMES

_BINANCE = {"/api/v3": "binance", "/fapi/v1": "binance_usdm", "/dapi/v1": "binance_coinm"}
_BINANCE_PATH = re.compile(r"(/api/v3|/fapi/v1|/dapi/v1)/klines")
_COINBASE_PATH = re.compile(r"/products/([^/]+)/candles")
_BITSTAMP_PATH = re.compile(r"/api/v2/ohlc/([^/]+)/")
_KRAKEN_PATH = "/0/public/OHLC"
_KRAKEN_KEEPS = 720
_SECOND_US = 1_000_000


def exchange_of(path: str) -> str | None:
    """The exchange whose candles this path asks for, None if it asks for none."""
    found = _BINANCE_PATH.fullmatch(path)
    if found is not None:
        return _BINANCE[found[1]]
    if path == _KRAKEN_PATH:
        return "kraken"
    if _COINBASE_PATH.fullmatch(path):
        return "coinbase"
    return "bitstamp" if _BITSTAMP_PATH.fullmatch(path) else None


def answer(path: str, query: Mapping[str, str], traded: Traded) -> str | None:
    """The answer to a GET, None for a symbol that is not there."""
    named = _COINBASE_PATH.fullmatch(path) or _BITSTAMP_PATH.fullmatch(path)
    name = named[1] if named else query.get("symbol") or query.get("pair", "")
    symbol = canonical_symbol(split_name(name) if path == _KRAKEN_PATH else name)
    if symbol is None or symbol not in traded:
        return None
    fills = list(traded[symbol])
    if path == _KRAKEN_PATH:
        return _kraken(name, symbol, fills, query)
    if _COINBASE_PATH.fullmatch(path):
        return _coinbase(fills, query)
    return _bitstamp(fills, query) if named else _binance(symbol, fills, query)


@dataclass(frozen=True)
class _Window:
    """The fills of [start, start + length), none perhaps, and the price before them."""

    start_us: int
    fills: Sequence[Fill]
    before: Decimal

    @property
    def prices(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Open, high, low and close: the last close where nothing traded."""
        prices = [f.price for f in self.fills] or [self.before]
        return prices[0], max(prices), min(prices), prices[-1]

    def volume(self, *, taken: bool = False) -> Decimal:
        """The sum of quantities: all, or what takers bought."""
        return sum((f.quantity for f in self.fills if f.buy or not taken), Decimal(0))

    def turnover(self, *, taken: bool = False) -> Decimal:
        """The sum of price x quantity."""
        return sum((f.price * f.quantity for f in self.fills if f.buy or not taken), Decimal(0))


def _windows(
    fills: Sequence[Fill], length_us: int, start_us: int, end_us: int
) -> Iterator[_Window]:
    """Every window from the first that traded on whose start is in [start, end)."""
    by_start = {
        start: sorted(group, key=lambda f: f.trade_id)
        for start, group in groupby(fills, lambda f: f.time_us - f.time_us % length_us)
    }
    if not by_start:
        return
    close = next(iter(by_start.values()))[0].price
    for at in range(min(by_start), max(by_start) + 1, length_us):
        window = _Window(at, by_start.get(at, ()), close)
        close = window.prices[3]
        if start_us <= at < end_us:
            yield window


def _binance(symbol: str, fills: Sequence[Fill], query: Mapping[str, str]) -> str:
    length = TIMEFRAMES[query["interval"]].micros
    start, end = int(query["startTime"]) * 1000, (int(query["endTime"]) + 1) * 1000
    found = list(_windows(fills, length, start, end))[: int(query.get("limit", 500))]
    return f"[{','.join(_kline(symbol, w, length) for w in found)}]"


def _kline(symbol: str, window: _Window, length_us: int) -> str:
    in_base = is_contract(symbol)
    worth = terms(symbol).contract_worth or 1
    sums = [
        sum((f.quantity * worth / f.price for f in window.fills if f.buy or not taken), Decimal(0))
        if in_base
        else window.turnover(taken=taken)
        for taken in (False, True)
    ]
    values = [
        window.start_us // 1000,
        *map(_text, window.prices),
        _text(window.volume()),
        (window.start_us + length_us) // 1000 - 1,
        _text(sums[0]),
        len(window.fills),
        _text(window.volume(taken=True)),
        _text(sums[1]),
        '"0"',
    ]
    return f"[{','.join(map(str, values))}]"


def _kraken(name: str, symbol: str, fills: Sequence[Fill], query: Mapping[str, str]) -> str:
    length = int(query.get("interval", 1)) * 60 * _SECOND_US
    since = int(query.get("since", 0))
    newest = list(_windows(fills, length, 0, 2**63))[-_KRAKEN_KEEPS:]
    rows = [_row(symbol, w) for w in newest if w.start_us > since * _SECOND_US]
    last = newest[-2].start_us // _SECOND_US if len(newest) > 1 else since
    return f'{{"error":[],"result":{{"{name}":[{",".join(rows)}],"last":{last}}}}}'


def _row(symbol: str, window: _Window) -> str:
    volume, cent = window.volume(), Decimal(1).scaleb(-terms(symbol).price_decimals)
    mean = (window.turnover() / volume).quantize(cent, ROUND_DOWN) if volume else Decimal(0)
    values = [*window.prices, mean, volume]
    at, count = window.start_us // _SECOND_US, len(window.fills)
    return f"[{at},{','.join(map(_text, values))},{count}]"


def _coinbase(fills: Sequence[Fill], query: Mapping[str, str]) -> str:
    """Newest first, numbers, and nothing where nothing traded."""
    start, end = int(query["start"]) * _SECOND_US, int(query["end"]) * _SECOND_US + 1
    length = int(query["granularity"]) * _SECOND_US
    rows = []
    for window in _windows(fills, length, start, end):
        first, high, low, close = window.prices
        values = (low, high, first, close, window.volume())
        if window.fills:
            at = window.start_us // _SECOND_US
            rows.append(f"[{at},{','.join(f'{v:f}' for v in values)}]")
    return f"[{','.join(reversed(rows))}]"


def _bitstamp(fills: Sequence[Fill], query: Mapping[str, str]) -> str:
    start, end = int(query["start"]) * _SECOND_US, int(query["end"]) * _SECOND_US + 1
    found = list(_windows(fills, int(query["step"]) * _SECOND_US, start, end))
    candles = [_candle(w) for w in found[: int(query["limit"])]]
    return dump({"data": {"ohlc": candles}})


def _candle(window: _Window) -> dict[str, str]:
    names = ("open", "high", "low", "close")
    return {
        "timestamp": str(window.start_us // _SECOND_US),
        **{name: f"{price:f}" for name, price in zip(names, window.prices, strict=True)},
        "volume": f"{window.volume():f}",
    }


def _text(value: Decimal) -> str:
    return f'"{value:f}"'
