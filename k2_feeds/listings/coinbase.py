"""Coinbase Exchange's list of products. Source: "Get all known trading pairs"."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from k2_feeds.listings.listing import Listed, Listing, collect, decoded, names, spelled, status
from k2_market.instruments import canonical_asset
from k2_market.listing import SPOT, Instrument


class _Product(msgspec.Struct):
    id: str
    base_currency: str
    quote_currency: str
    base_increment: Decimal
    quote_increment: Decimal
    status: str
    min_market_funds: Decimal | None = None
    trading_disabled: bool = False
    cancel_only: bool = False


def _entries(answer: bytes) -> Listed:
    return collect(decoded(answer, list[_Product]), lambda p: p.id, _instrument)


def _instrument(product: _Product) -> Instrument:
    return Instrument(
        exchange="coinbase",
        symbol=spelled(f"{product.base_currency}-{product.quote_currency}"),
        exchange_symbol=product.id,
        names=names(product.id),
        base=canonical_asset(product.base_currency),
        quote=canonical_asset(product.quote_currency),
        type=SPOT,
        tick_size=product.quote_increment,
        lot_size=product.base_increment,
        status=_status(product),
        min_notional=product.min_market_funds,
    )


def _status(product: _Product) -> str:
    if product.trading_disabled:
        return "trading_disabled"
    return "cancel_only" if product.cancel_only else status(product.status, "online")


COINBASE = Listing("coinbase", "/products", 1, _entries)
