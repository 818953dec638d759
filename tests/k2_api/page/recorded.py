"""What the page is shown of: a morning with a gap, a hostile name, few others."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

from k2_lake.quality.day_condition import assess
from k2_lake.quality.day_expectation import Configured
from k2_lake.quality.gaps import find_gaps
from tests.k2_api.lake_of_trades import MIDNIGHT, Made, TradeLake

HOSTILE = "<IMG SRC=X ONERROR=ALERT(1)>-USD"
HOURS = 10
# Seconds of the day in which trades were made that nobody received.
MISSED = range(33_600, 34_140)


def recorded_lake(home: Path) -> TradeLake:
    """A lake with candles of ten hours, gaps and conditions."""
    lake = TradeLake(home)
    lake.add([*morning(), *others()])
    day = MIDNIGHT.date()
    find_gaps(lake.lake, lake.engine, day, recompute=True)
    assess(lake.lake, lake.engine, day, datetime(2024, 8, 10, tzinfo=UTC), Configured())
    return lake


def morning() -> list[Made]:
    """Bitcoin on Binance, about five trades a minute; always the same."""
    chance = random.Random(8)
    made, price = [], 61_000.0
    for number in range(1, HOURS * 300):
        price += chance.gauss(0, 9)
        at = number * 12.0
        if int(at) not in MISSED:
            quantity = f"{chance.expovariate(8) + 0.0001:.5f}"
            made.append(Made(number, at, price=f"{price:.2f}", quantity=quantity))
    return made


def others() -> list[Made]:
    """Few trades of others, in the first ten minutes."""
    told = [
        {"own": "ETHUSDT", "symbol": "ETH-USDT", "price": "3021.07"},
        {"exchange": "kraken", "own": "XBT/USD", "symbol": "BTC-USD", "price": "61010.1"},
        {"exchange": "kraken", "own": "<b>own</b>", "symbol": HOSTILE, "price": "0.00012"},
    ]
    return [
        Made(number, number * 60.0, quantity="0.50000", **of)  # type: ignore[arg-type]
        for of in told
        for number in range(1, 11)
    ]
