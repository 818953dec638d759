"""Binance's lists of instruments: spot, USD-M and COIN-M.

Source: "Exchange Information" of each market's REST API. A contract of COIN-M is worth
``contractSize`` in the quote currency: 100 USD of bitcoin, 10 USD of others ("Contract
Specifications of COIN-M Futures"). On USD-M quantities are in base.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from k2_feeds.listings.listing import Listed, Listing, collect, decoded, names, status
from k2_market.instruments import canonical_asset
from k2_market.listing import FUTURE, PERPETUAL, SPOT, Instrument

_CONTRACT = re.compile(r"PERP|\d{6}")


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: Decimal | None = None
    step_size: Decimal | None = None
    min_notional: Decimal | None = None
    notional: Decimal | None = None


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter]
    status: str = ""
    contract_status: str = ""
    contract_type: str | None = None
    contract_size: Decimal | None = None


class _Info(msgspec.Struct):
    symbols: list[_Symbol]


def _listing(exchange: str, path: str, weight: int) -> Listing:
    def entries(answer: bytes) -> Listed:
        return collect(
            decoded(answer, _Info).symbols, lambda s: s.symbol, lambda s: _instrument(exchange, s)
        )

    return Listing(exchange, path, weight, entries)


def _instrument(exchange: str, entry: _Symbol) -> Instrument:
    tick = _step(entry, "PRICE_FILTER", "tick_size")
    lot = _step(entry, "LOT_SIZE", "step_size")
    return Instrument(
        exchange=exchange,
        symbol=_canonical(entry),
        exchange_symbol=entry.symbol,
        names=names(entry.symbol),
        base=canonical_asset(entry.base_asset),
        quote=canonical_asset(entry.quote_asset),
        type=_type(entry.contract_type),
        tick_size=tick,
        lot_size=lot,
        status=status(entry.status or entry.contract_status, "TRADING"),
        min_notional=_min_notional(entry),
        contract_size=entry.contract_size,
        contract_currency=None if entry.contract_size is None else entry.quote_asset,
    )


def _canonical(entry: _Symbol) -> str:
    """By base and quote as stated; what follows an underscore is the contract."""
    contract = entry.symbol.partition("_")[2]
    stated = f"{canonical_asset(entry.base_asset)}-{canonical_asset(entry.quote_asset)}"
    if contract and not _CONTRACT.fullmatch(contract):
        raise ValueError(f"the contract {contract!r} is none that is known")
    return f"{stated}-{contract}" if contract else stated


def _type(contract_type: str | None) -> str:
    if not contract_type:
        return SPOT
    return PERPETUAL if contract_type.endswith("PERPETUAL") else FUTURE


def _step(entry: _Symbol, filter_type: str, field: str) -> Decimal:
    for each in entry.filters:
        value: Decimal | None = getattr(each, field)
        if each.filter_type == filter_type and value is not None:
            return value
    raise ValueError(f"it has no {filter_type}")


def _min_notional(entry: _Symbol) -> Decimal | None:
    """Spot calls the filter NOTIONAL, formerly MIN_NOTIONAL; futures call its field otherwise."""
    for each in entry.filters:
        if each.filter_type in ("NOTIONAL", "MIN_NOTIONAL"):
            return each.min_notional if each.min_notional is not None else each.notional
    return None


BINANCE = _listing("binance", "/api/v3/exchangeInfo", 20)
BINANCE_USDM = _listing("binance_usdm", "/fapi/v1/exchangeInfo", 1)
BINANCE_COINM = _listing("binance_coinm", "/dapi/v1/exchangeInfo", 1)
