"""Made trades around changes of clocks, and candles of them by brute force."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from itertools import groupby
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi.testclient import TestClient

from tests.k2_api.lake_of_trades import MIDNIGHT, Made

# Clocks go forward in Berlin on the second day and back on the last but one.
DAYS = [
    date(2024, 3, 30),
    date(2024, 3, 31),
    date(2024, 4, 1),
    date(2024, 10, 27),
    date(2024, 10, 28),
]
WHOLE = {"start": "2024-02-01", "end": "2024-11-30"}
INSTRUMENTS = [
    ("binance", "BTCUSDT", "BTC-USDT"),
    ("binance", "ETHUSDT", "ETH-USDT"),
    ("binance_usdm", "BTCUSDT", "BTC-USDT"),
]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The start of the window that an instant lies in, and the start of the next one.
Windows = Callable[[datetime], tuple[datetime, datetime]]
Row = dict[str, Any]


def _made() -> list[Made]:
    chance = random.Random(5)
    found: list[Made] = []
    for exchange, own, symbol in INSTRUMENTS:
        number = 0
        for day in DAYS:
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            # Whole minutes, so that many trades of two exchanges share their time, and in bursts.
            bursts = sorted(chance.sample(range(1440), 14))
            for minute in bursts:
                for _ in range(chance.randint(1, 4)):
                    number += 1
                    at = start + timedelta(minutes=minute // 10 * 10)
                    found.append(_trade(chance, number, at, exchange, own, symbol))
    return found


def _trade(
    chance: random.Random, number: int, at: datetime, exchange: str, own: str, symbol: str
) -> Made:
    return Made(
        number,
        (at - MIDNIGHT).total_seconds(),
        exchange,
        own,
        symbol,
        price=f"{chance.randint(1, 90000)}.{chance.randint(0, 99999999):08}",
        quantity=f"{chance.randint(0, 9)}.{chance.randint(1, 99999999):08}",
    )


TRADES = _made()


def at_of(trade: Made) -> datetime:
    return MIDNIGHT + timedelta(seconds=trade.at)


def every(length: timedelta, first: datetime = EPOCH) -> Windows:
    def windows(at: datetime) -> tuple[datetime, datetime]:
        start = first + (at - first) // length * length
        return start, start + length

    return windows


def local_days(zone: str) -> Windows:
    tz = ZoneInfo(zone)

    def windows(at: datetime) -> tuple[datetime, datetime]:
        day = at.astimezone(tz).date()
        return _midnight(day, tz), _midnight(day + timedelta(days=1), tz)

    return windows


def local_weeks(zone: str) -> Windows:
    tz = ZoneInfo(zone)

    def windows(at: datetime) -> tuple[datetime, datetime]:
        day = at.astimezone(tz).date()
        monday = day - timedelta(days=day.weekday())
        return _midnight(monday, tz), _midnight(monday + timedelta(days=7), tz)

    return windows


def local_months(zone: str) -> Windows:
    tz = ZoneInfo(zone)

    def windows(at: datetime) -> tuple[datetime, datetime]:
        first = at.astimezone(tz).date().replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
        return _midnight(first, tz), _midnight(following, tz)

    return windows


def _midnight(day: date, tz: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=tz).astimezone(UTC)


def brute_force(trades: Sequence[Made], windows: Windows, exchange: str | None = None) -> list[Row]:
    """The candles of these trades; ``exchange`` names the one across all of them."""

    def key(trade: Made) -> tuple[str, str, datetime]:
        return (exchange or trade.exchange, trade.symbol, windows(at_of(trade))[0])

    groups = groupby(sorted(trades, key=key), key)
    return [candle(list(of), windows, *named) for named, of in groups]


def candle(
    trades: Sequence[Made], windows: Windows, exchange: str, symbol: str, start: datetime
) -> Row:
    across = exchange == "consolidated"
    if across:
        first = min(trades, key=lambda t: (t.at, t.exchange, t.number))
        last = max(trades, key=lambda t: (t.at, t.exchange, t.number))
    else:
        first, last = (end(trades, key=lambda t: t.number) for end in (min, max))
    prices = [Decimal(t.price) for t in trades]
    volume, quote = _sums(trades)
    bought, bought_quote = _sums([t for t in trades if t.number % 2])
    vwap = (quote / volume).quantize(Decimal("0.00000001"), ROUND_DOWN)
    return {
        "exchange": exchange,
        "symbol": symbol,
        "window_start": _text(start),
        "window_end": _text(windows(at_of(first))[1]),
        "open": first.price,
        "high": f"{max(prices):.8f}",
        "low": f"{min(prices):.8f}",
        "close": last.price,
        "volume": f"{volume:.8f}",
        "quote_volume": f"{quote:.16f}",
        "taker_buy_volume": f"{bought:.8f}",
        "taker_buy_quote_volume": f"{bought_quote:.16f}",
        "vwap": f"{vwap:.8f}",
        "trade_count": len(trades),
        "first_trade_id": f"{first.exchange}:{first.number}" if across else str(first.number),
        "last_trade_id": f"{last.exchange}:{last.number}" if across else str(last.number),
        "window_date": f"{start:%Y-%m-%d}",
    }


def _sums(trades: Iterable[Made]) -> tuple[Decimal, Decimal]:
    volume = quote = Decimal(0)
    for trade in trades:
        volume += Decimal(trade.quantity)
        quote += Decimal(trade.quantity) * Decimal(trade.price)
    return volume, quote


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"


def ask(client: TestClient, url: str, **parameters: object) -> dict[str, Any]:
    response = client.get(f"{url}?{urlencode(parameters)}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def rows(client: TestClient, url: str, **parameters: object) -> list[Row]:
    """The rows of the answer without what the table does not hold."""
    found = ask(client, url, **parameters)["data"]
    return [{k: v for k, v in row.items() if k not in ("final", "filled")} for row in found]


def paged(client: TestClient, url: str, limit: int, **parameters: object) -> list[Row]:
    """The rows of all pages, one behind the other."""
    found: list[Row] = []
    cursor: dict[str, str] = {}
    while True:
        page = ask(client, url, limit=limit, **parameters, **cursor)
        found += page["data"]
        if not page["meta"]["has_more"]:
            assert page["meta"]["next_cursor"] is None
            return found
        assert len(page["data"]) == limit
        cursor = {"cursor": page["meta"]["next_cursor"]}
