"""A market that never was: seeded random walks that trade in the present, for the simulator.

Prices start near what the assets cost and walk in ticks. A taker's order fills in one to five
trades that share its millisecond and its side, as on real exchanges. Trade ids of a symbol have no
gap; a market that is started later begins above where an earlier one can have ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from random import Random

# Price and its decimals, and the decimals of a quantity, by base asset.
_LEVELS = {
    "BTC": ("64000", 1, 8),
    "ETH": ("3100", 2, 8),
    "SOL": ("145", 2, 6),
    "XRP": ("0.62", 5, 4),
    "DOGE": ("0.125", 5, 3),
}
_USUAL_LEVEL = ("1", 4, 2)
_QUOTES = ("USDT", "USD")
PAIRS = tuple(f"{base}-{quote}" for base in _LEVELS for quote in _QUOTES)
PERPETUALS = tuple(f"{base}-USD-PERP" for base in _LEVELS)
SYMBOLS = (*PAIRS, *PERPETUALS)
# What a contract is worth in quote currency; they trade in whole numbers.
_CONTRACT_WORTH = {"BTC": 100}
_USUAL_CONTRACT_WORTH = 10
_ORDER_WORTH = 500.0  # quote currency, in the mean
_MAX_FILLS = 5
# Quantities of quotes, in the smallest units of the symbol.
_MAX_UNITS, _PRIMES = 99_991, (7_919, 104_729)
# An id per 10 us since 1970: below 100,000 trades a second no later start repeats an id.
_IDS_EVERY_US = 10


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade. ``time_us`` is in microseconds since 1970 UTC; ``buy`` is the taker's side."""

    trade_id: int
    time_us: int
    price: Decimal
    quantity: Decimal
    buy: bool
    limit_order: bool


def is_contract(symbol: str) -> bool:
    """Whether a canonical symbol names a contract, such as ``BTC-USD-PERP``."""
    return symbol.count("-") > 1


@dataclass(frozen=True, slots=True)
class Terms:
    """How a symbol trades: decimals of price and quantity, and what a contract is worth, if one."""

    price_decimals: int
    quantity_decimals: int
    contract_worth: int | None


def terms(symbol: str) -> Terms:
    """The terms of any canonical symbol."""
    base = symbol.split("-")[0]
    _, price_decimals, quantity_decimals = _LEVELS.get(base, _USUAL_LEVEL)
    if is_contract(symbol):
        return Terms(price_decimals, 0, _CONTRACT_WORTH.get(base, _USUAL_CONTRACT_WORTH))
    return Terms(price_decimals, quantity_decimals, None)


@dataclass(frozen=True, slots=True)
class Quote:
    """The best levels of the book after a trade, which was at one of them.

    ``update_id`` grows within a symbol, with holes; ``time_us`` is in microseconds since 1970 UTC.
    """

    update_id: int
    time_us: int
    bid_price: Decimal
    bid_quantity: Decimal
    ask_price: Decimal
    ask_quantity: Decimal
    fill: Fill


def quote_after(fill: Fill) -> Quote:
    """The quote that a trade leaves behind: a tick wide, and the same whenever it is asked for."""
    tick = Decimal(1).scaleb(_exponent(fill.price))
    bid = fill.price - tick if fill.buy and fill.price > tick else fill.price
    bid_quantity, ask_quantity = (
        Decimal(1 + fill.trade_id * prime % _MAX_UNITS).scaleb(_exponent(fill.quantity))
        for prime in _PRIMES
    )
    return Quote(fill.trade_id, fill.time_us, bid, bid_quantity, bid + tick, ask_quantity, fill)


def _exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


class SyntheticSymbol:
    """The market of one symbol. Equal arguments and calls give equal trades."""

    def __init__(self, symbol: str, start_us: int, seed: int) -> None:
        level = _LEVELS.get(symbol.split("-")[0], _USUAL_LEVEL)[0]
        self._terms = terms(symbol)
        self._random = Random(f"{seed} {symbol}")
        self._ticks = int(Decimal(level).scaleb(self._terms.price_decimals))
        self._next_id = start_us // _IDS_EVERY_US
        self._now_us = start_us
        self._owed = 0.0

    def advance(self, now_us: int, rate: float) -> list[list[Fill]]:
        """The orders since the last call up to ``now_us``, each with its fills, in order of time.

        ``rate`` is trades per second, kept in the mean whatever the length of the steps.
        """
        self._owed += rate * (now_us - self._now_us) / 1e6
        sizes = []
        while self._owed >= 1:
            size = min(int(self._owed), self._random.choice((1, 1, 1, 2, 3, _MAX_FILLS)))
            sizes.append(size)
            self._owed -= size
        times = sorted(self._random.randint(self._now_us + 1, now_us) for _ in sizes)
        self._now_us = max(now_us, self._now_us)
        return [self._order(time, size) for time, size in zip(times, sizes, strict=True)]

    def _order(self, time_us: int, size: int) -> list[Fill]:
        buy, limit_order = self._random.random() < 0.5, self._random.random() < 0.5
        drift = self._random.choice((-2, -1, -1, 0, 1, 1, 2))
        self._ticks = max(1, self._ticks + drift)
        return [self._fill(time_us, step, buy, limit_order) for step in range(size)]

    def _fill(self, time_us: int, step: int, buy: bool, limit_order: bool) -> Fill:
        ticks = max(1, self._ticks + (step if buy else -step))
        price, decimals = (
            Decimal(ticks).scaleb(-self._terms.price_decimals),
            self._terms.quantity_decimals,
        )
        worth = self._random.expovariate(1 / _ORDER_WORTH) + 1
        units = max(1, int(worth / (self._terms.contract_worth or float(price)) * 10**decimals))
        trade_id, self._next_id = self._next_id, self._next_id + 1
        quantity = Decimal(units).scaleb(-decimals)
        return Fill(trade_id, time_us, price, quantity, buy, limit_order)


class SyntheticMarket:
    """All symbols of one exchange."""

    def __init__(self, symbols: Iterable[str], start_us: int, seed: int) -> None:
        self._symbols = {s: SyntheticSymbol(s, start_us, seed) for s in symbols}

    @property
    def symbols(self) -> list[str]:
        """What trades here, canonical."""
        return list(self._symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._symbols

    def advance(self, now_us: int, rate: float) -> dict[str, list[list[Fill]]]:
        """The new orders of each symbol, as SyntheticSymbol.advance gives them."""
        return {name: symbol.advance(now_us, rate) for name, symbol in self._symbols.items()}
