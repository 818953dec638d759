"""What the exchanges' REST interfaces list of the symbols that trade in the simulator.

Sources: as in ``k2_feeds.listings``; only the fields that K2 reads, and a few that it must not
stumble over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from k2_feeds.simulator.synthetic import terms


def listing(exchange: str, symbols: Sequence[str]) -> str:
    """The answer of ``exchange`` to the GET of its list, for these canonical symbols."""
    return json.dumps(_ANSWERS[exchange](symbols))


def _binance(symbols: Sequence[str]) -> Any:
    return {"timezone": "UTC", "symbols": [_spot(s) for s in symbols]}


def _usdm(symbols: Sequence[str]) -> Any:
    contract = {"contractType": "PERPETUAL", "marginAsset": "USDT"}
    return {"timezone": "UTC", "symbols": [{**_spot(s), **contract} for s in symbols]}


def _coinm(symbols: Sequence[str]) -> Any:
    return {"timezone": "UTC", "symbols": [_contract(s) for s in symbols]}


def _spot(symbol: str) -> dict[str, Any]:
    base, quote, *_ = symbol.split("-")
    known = terms(symbol)
    return {
        "symbol": symbol.replace("-", "", 1).replace("-", "_"),
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": _step(known.price_decimals)},
            {"filterType": "LOT_SIZE", "stepSize": _step(known.quantity_decimals)},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
    }


def _contract(symbol: str) -> dict[str, Any]:
    entry = {**_spot(symbol), "contractStatus": "TRADING", "contractType": "PERPETUAL"}
    del entry["status"]
    return {
        **entry,
        "contractSize": terms(symbol).contract_worth,
        "marginAsset": entry["baseAsset"],
    }


def _kraken(symbols: Sequence[str]) -> Any:
    return {"error": [], "result": dict(_pair(s) for s in symbols)}


def _pair(symbol: str) -> tuple[str, dict[str, Any]]:
    """Under the names that Kraken gave its oldest coins, where it has them."""
    base, quote = (_KRAKEN_CODES.get(a, (a, a)) for a in symbol.split("-"))
    old = base[1] != base[0] and quote[1] != quote[0]
    known = terms(symbol)
    return f"{base[1]}{quote[1]}" if old else f"{base[0]}{quote[0]}", {
        "altname": f"{base[0]}{quote[0]}",
        "wsname": f"{base[0]}/{quote[0]}",
        "base": base[1],
        "quote": quote[1],
        "pair_decimals": known.price_decimals,
        "lot_decimals": known.quantity_decimals,
        "costmin": "0.5",
        "tick_size": _step(known.price_decimals),
        "status": "online",
    }


def _coinbase(symbols: Sequence[str]) -> Any:
    return [
        {
            "id": symbol,
            "base_currency": symbol.split("-")[0],
            "quote_currency": symbol.split("-")[1],
            "quote_increment": _step(terms(symbol).price_decimals),
            "base_increment": _step(terms(symbol).quantity_decimals),
            "min_market_funds": "1",
            "status": "online",
            "trading_disabled": False,
            "cancel_only": False,
        }
        for symbol in symbols
    ]


def _bitstamp(symbols: Sequence[str]) -> Any:
    return [
        {
            "name": symbol.replace("-", "/"),
            "market_symbol": symbol.replace("-", "").lower(),
            "base_currency": symbol.split("-")[0],
            "base_decimals": terms(symbol).quantity_decimals,
            "counter_currency": symbol.split("-")[1],
            "counter_decimals": terms(symbol).price_decimals,
            "minimum_order_value": "10.00",
            "trading": "Enabled",
            "market_type": "SPOT",
        }
        for symbol in symbols
    ]


def _step(decimals: int) -> str:
    return f"{Decimal(1).scaleb(-decimals):f}"


# Kraken's short and long codes of what has both.
_KRAKEN_CODES = {
    "BTC": ("XBT", "XXBT"),
    "DOGE": ("XDG", "XXDG"),
    "ETH": ("ETH", "XETH"),
    "XRP": ("XRP", "XXRP"),
    "USD": ("USD", "ZUSD"),
}

_ANSWERS: dict[str, Callable[[Sequence[str]], Any]] = {
    "binance": _binance,
    "binance_usdm": _usdm,
    "binance_coinm": _coinm,
    "kraken": _kraken,
    "coinbase": _coinbase,
    "bitstamp": _bitstamp,
}
