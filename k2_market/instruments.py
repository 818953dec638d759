"""Canonical symbols: BASE-QUOTE in the names that most of the market uses.

Kraken calls bitcoin XBT and dogecoin XDG; K2 calls them BTC and DOGE everywhere. Its REST answers
put an X before the codes of its oldest coins and a Z before those of states' currencies: XXBT,
ZUSD (Kraken support, "Asset codes"; API reference, "Get Tradable Asset Pairs").
"""

from __future__ import annotations

import re
from functools import cache

_RENAMED = {"XBT": "BTC", "XDG": "DOGE"}
# A closed list: newer coins have no prefix, and XTZ is no ZTZ.
_PREFIXED = {
    f"{prefix}{code}": _RENAMED.get(code, code)
    for prefix, codes in (
        ("X", "XBT XDG ETC ETH ICN LTC MLN NMC REP XLM XMR XRP XVN ZEC"),
        ("Z", "AUD CAD EUR GBP JPY KRW USD"),
    )
    for code in codes.split()
}
_NAMES = _RENAMED | _PREFIXED
# The one pair of Kraken's that has a prefix on one side alone.
_ODD_PAIRS = {"USDTZUSD": ("USDT", "USD")}

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
_CONTRACT = re.compile(r"(?P<pair>.+)[/_-](?P<suffix>PERP|\d{6})")
_SEPARATOR = re.compile(r"[/-]")


def canonical_asset(code: str) -> str:
    """The usual name of an asset: XBT and XXBT are BTC, ZUSD is USD, others are upper-cased."""
    upper = code.upper()
    return _NAMES.get(upper, upper)


@cache
def split_pair(pair: str) -> tuple[str, str] | None:
    """Base and quote of a pair written without separator, or None if its quote is not known.

    ``BTCUSDT`` gives ``("BTC", "USDT")``, ``XXBTZUSD`` gives ``("BTC", "USD")``. The longest known
    quote currency wins.
    """
    upper = pair.upper()
    if upper[:4] in _PREFIXED and upper[4:] in _PREFIXED:
        return _PREFIXED[upper[:4]], _PREFIXED[upper[4:]]
    if upper[:3] in _RENAMED and upper[3:] in QUOTE_CURRENCIES:
        # XBTUSD is no XB in TUSD.
        return _RENAMED[upper[:3]], canonical_asset(upper[3:])
    for quote in QUOTE_CURRENCIES:
        if upper.endswith(quote) and len(upper) > len(quote):
            split = canonical_asset(upper[: -len(quote)]), canonical_asset(quote)
            return _ODD_PAIRS.get(upper, split)
    return None


@cache
def canonical_symbol(exchange_symbol: str) -> str | None:
    """``BTCUSDT``, ``btcusdt``, ``XBT/USDT``, ``BTC-USDT`` give ``BTC-USDT``; None if unreadable.

    A future keeps its suffix: ``BTCUSDT_240927`` gives ``BTC-USDT-240927``, ``BTCUSD_PERP`` and
    ``btcusd-perp`` give ``BTC-USD-PERP``. A canonical symbol gives itself.
    """
    upper = exchange_symbol.upper()
    contract = _CONTRACT.fullmatch(upper)
    if contract:
        pair = canonical_symbol(contract["pair"])
        return None if pair is None or pair.count("-") > 1 else f"{pair}-{contract['suffix']}"
    parts = _SEPARATOR.split(upper)
    if len(parts) == 1:
        split = split_pair(upper)
        return None if split is None else "-".join(split)
    if len(parts) > 3 or not all(parts):
        return None
    return "-".join([*map(canonical_asset, parts[:2]), *parts[2:]])


def quote_currency(symbol: str) -> str:
    """The quote currency of a canonical symbol: ``USDT`` of ``BTC-USDT``."""
    return symbol.split("-")[1]
