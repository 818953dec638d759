"""Kraken's names of pairs outside of WebSocket v2: ``XBTUSD``, ``XXBTZUSD``, ``USDTUSD``.

A pair is split at a currency that Kraken quotes in, for others do not fit: read as on other
exchanges, ``USDTUSD`` would be USD priced in TUSD. Source: "Get Tradable Asset Pairs" of the API
reference (``altname`` and ``wsname``).
"""

from __future__ import annotations

import re

# Longest first, so that XBTPYUSD is not read as something ending in USD.
_QUOTES = (
    "PYUSD RLUSD USDT USDC USDG EURC USD EUR GBP CAD AUD CHF JPY XBT BTC ETH DAI SOL DOT".split()
)
# In the old names X marks a currency that is none of a state, Z one that is.
_OLD = re.compile(r"X([A-Z]{3})[XZ]([A-Z]{3})")


def split_name(name: str) -> str:
    """``XXBTZUSD`` and ``XBTUSD`` give ``XBT/USD``; what is no pair comes back as it is."""
    upper = name.upper()
    old = _OLD.fullmatch(upper)
    if old is not None:
        return "/".join(old.groups())
    for quote in _QUOTES:
        if upper.endswith(quote) and len(upper) > len(quote) and upper.isalnum():
            return f"{upper.removesuffix(quote)}/{quote}"
    return name
