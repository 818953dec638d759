"""Kraken's list of pairs. Source: "Get Tradable Asset Pairs" of the API reference.

A pair has four names: the answer's key (``XXBTZUSD``), ``altname`` (``XBTUSD``), ``wsname``
(``XBT/USD``) and that of WebSocket v2 (``BTC/USD``).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from k2_feeds.listings.listing import (
    Listed,
    Listing,
    collect,
    decimals_step,
    decoded,
    names,
    spelled,
    status,
)
from k2_market.listing import SPOT, Instrument


class _Pair(msgspec.Struct):
    altname: str
    pair_decimals: int
    lot_decimals: int
    wsname: str = ""
    tick_size: Decimal | None = None
    costmin: Decimal | None = None
    status: str = "online"


class _Answer(msgspec.Struct):
    error: list[str] = []
    result: dict[str, _Pair] = {}


def _entries(answer: bytes) -> Listed:
    found = decoded(answer, _Answer)
    if found.error:
        raise ValueError(", ".join(found.error))
    return collect(found.result.items(), lambda item: item[0], lambda item: _instrument(*item))


def _instrument(key: str, pair: _Pair) -> Instrument:
    symbol = spelled(pair.wsname or pair.altname)
    base, quote = symbol.split("-")
    return Instrument(
        exchange="kraken",
        symbol=symbol,
        exchange_symbol=f"{base}/{quote}",
        names=names(f"{base}/{quote}", pair.wsname, pair.altname, key),
        base=base,
        quote=quote,
        type=SPOT,
        tick_size=pair.tick_size or decimals_step(pair.pair_decimals),
        lot_size=decimals_step(pair.lot_decimals),
        status=status(pair.status, "online"),
        min_notional=pair.costmin,
    )


KRAKEN = Listing("kraken", "/0/public/AssetPairs", 1, _entries)
