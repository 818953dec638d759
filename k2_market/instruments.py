"""Canonical symbols: BASE-QUOTE in the names that most of the market uses.

Kraken calls bitcoin XBT and dogecoin XDG; K2 calls them BTC and DOGE everywhere
(Kraken support, "Asset codes").
"""

from __future__ import annotations

import re
from functools import cache

_RENAMED = {"XBT": "BTC", "XDG": "DOGE"}

# Longest first, so that FDUSD is not read as something ending in USD.
QUOTE_CURRENCIES: tuple[str, ...] = tuple(
    sorted(
        (
            "USDT USDC FDUSD TUSD BUSD USD1 USDE USDP DAI PAX USDS UST "
            "BTC ETH BNB SOL XRP TRX DOGE DOT EURI AEUR XUSD BFUSD USD "
            "EUR GBP TRY BRL JPY AUD ARS COP CZK IDR MXN PLN RON RUB UAH VAI ZAR NGN BKRW BIDR "
            "IDRT BVND XBT CAD CHF"
        ).split(),
        key=len,
        reverse=True,
    )
)
_CONTRACT = re.compile(r"^(?P<pair>[^_-]+)[_-](?P<suffix>PERP|\d{6})$")


def canonical_asset(code: str) -> str:
    """The usual name of an asset: XBT is BTC, XDG is DOGE, everything else is upper-cased."""
    upper = code.upper()
    return _RENAMED.get(upper, upper)


@cache
def split_pair(pair: str) -> tuple[str, str] | None:
    """Base and quote of a pair written without separator, or None if its quote is not known.

    ``BTCUSDT`` gives ``("BTC", "USDT")``. The longest known quote currency wins.
    """
    upper = pair.upper()
    for quote in QUOTE_CURRENCIES:
        if upper.endswith(quote) and len(upper) > len(quote):
            return canonical_asset(upper[: -len(quote)]), canonical_asset(quote)
    return None


@cache
def canonical_symbol(exchange_symbol: str) -> str | None:
    """``BTCUSDT``, ``btcusdt``, ``XBT/USDT``, ``BTC-USDT`` give ``BTC-USDT``; None if unreadable.

    A future keeps its suffix: ``BTCUSDT_240927`` gives ``BTC-USDT-240927``, ``BTCUSD_PERP`` and
    ``btcusd-perp`` give ``BTC-USD-PERP``.
    """
    contract = _CONTRACT.match(exchange_symbol.upper())
    if contract:
        pair = canonical_symbol(contract["pair"])
        return None if pair is None else f"{pair}-{contract['suffix']}"
    for separator in ("/", "-"):
        base, found, quote = exchange_symbol.partition(separator)
        if found:
            return f"{canonical_asset(base)}-{canonical_asset(quote)}" if base and quote else None
    split = split_pair(exchange_symbol)
    return None if split is None else "-".join(split)


def quote_currency(symbol: str) -> str:
    """The quote currency of a canonical symbol: ``USDT`` of ``BTC-USDT``."""
    return symbol.split("-")[1]
