"""Bitstamp's list of markets. Source: "Markets" of the HTTP API v2.

Steps are stated as decimals of base and counter currency, some markets' tick besides.
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
from k2_market.instruments import canonical_asset
from k2_market.listing import PERPETUAL, SPOT, Instrument


class _Market(msgspec.Struct):
    name: str
    market_symbol: str
    base_currency: str
    base_decimals: int
    counter_currency: str
    counter_decimals: int
    trading: str
    market_type: str = "SPOT"
    minimum_order_value: Decimal | None = None
    tick_size: Decimal | None = None


def _entries(answer: bytes) -> Listed:
    return collect(decoded(answer, list[_Market]), lambda m: m.name, _instrument)


def _instrument(market: _Market) -> Instrument:
    perpetual = market.market_type.upper() == "PERPETUAL"
    pair = f"{market.base_currency}-{market.counter_currency}"
    return Instrument(
        exchange="bitstamp",
        symbol=spelled(f"{pair}-PERP" if perpetual else pair),
        exchange_symbol=market.market_symbol,
        names=names(market.market_symbol, market.name),
        base=canonical_asset(market.base_currency),
        quote=canonical_asset(market.counter_currency),
        type=PERPETUAL if perpetual else SPOT,
        tick_size=market.tick_size or decimals_step(market.counter_decimals),
        lot_size=decimals_step(market.base_decimals),
        status=status(market.trading, "Enabled"),
        min_notional=market.minimum_order_value,
    )


BITSTAMP = Listing("bitstamp", "/api/v2/markets/", 1, _entries)
