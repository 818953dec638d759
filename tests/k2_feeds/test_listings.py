from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from k2_feeds.adapters import adapter
from k2_feeds.listings import LISTINGS
from k2_feeds.simulator.dialects.listings import listing
from k2_feeds.simulator.synthetic import PAIRS, PERPETUALS
from k2_market.errors import FeedError
from k2_market.exchanges import EXCHANGES
from k2_market.listing import Instrument

SPOT_BTC: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "baseAssetPrecision": 8,
    "quoteAsset": "USDT",
    "orderTypes": ["LIMIT"],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "stepSize": "0.00001000"},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.00000000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
    ],
}
COINM_BTC: dict[str, Any] = {
    "symbol": "BTCUSD_200925",
    "pair": "BTCUSD",
    "contractType": "CURRENT_QUARTER",
    "deliveryDate": 1601020800000,
    "contractStatus": "TRADING",
    "contractSize": 100,
    "marginAsset": "BTC",
    "baseAsset": "BTC",
    "quoteAsset": "USD",
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "stepSize": "1"},
    ],
}


def read(exchange: str, answer: object) -> dict[str, Instrument]:
    listed = LISTINGS[exchange].read(json.dumps(answer).encode())
    assert listed.unreadable == {}
    return {i.symbol: i for i in listed.instruments}


def test_binance_spot() -> None:
    found = read("binance", {"symbols": [SPOT_BTC]})["BTC-USDT"]
    assert found == Instrument(
        exchange="binance",
        symbol="BTC-USDT",
        exchange_symbol="BTCUSDT",
        names=("BTCUSDT",),
        base="BTC",
        quote="USDT",
        type="spot",
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.00001"),
        status="trading",
        min_notional=Decimal(5),
    )


def test_binance_usdm_says_what_is_perpetual_and_names_the_notional_otherwise() -> None:
    notional = {"filterType": "MIN_NOTIONAL", "notional": "100"}
    entry = {**SPOT_BTC, "filters": [*SPOT_BTC["filters"][:2], notional]}
    perpetual = {**entry, "contractType": "PERPETUAL"}
    future = {**entry, "symbol": "BTCUSDT_240927", "contractType": "CURRENT_QUARTER"}
    settling = {**perpetual, "symbol": "ETHUSDT", "baseAsset": "ETH", "status": "SETTLING"}
    found = read("binance_usdm", {"symbols": [perpetual, future, settling]})
    assert {s: (i.type, i.status) for s, i in found.items()} == {
        "BTC-USDT": ("perpetual", "trading"),
        "BTC-USDT-240927": ("future", "trading"),
        "ETH-USDT": ("perpetual", "settling"),
    }
    assert found["BTC-USDT"].min_notional == 100
    assert found["BTC-USDT"].contract_size is None


def test_a_contract_of_binance_coinm_is_worth_so_many_dollars() -> None:
    ether = {
        **COINM_BTC,
        "symbol": "ETHUSD_PERP",
        "baseAsset": "ETH",
        "contractType": "PERPETUAL",
        "contractSize": 10,
    }
    found = read("binance_coinm", {"symbols": [COINM_BTC, ether]})
    assert {s: (i.type, i.contract_size, i.contract_currency) for s, i in found.items()} == {
        "BTC-USD-200925": ("future", 100, "USD"),
        "ETH-USD-PERP": ("perpetual", 10, "USD"),
    }


def test_kraken_has_four_names_for_a_pair() -> None:
    bitcoin = {
        "altname": "XBTUSD",
        "wsname": "XBT/USD",
        "aclass_base": "currency",
        "base": "XXBT",
        "quote": "ZUSD",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "leverage_buy": [2, 3],
        "fees": [[0, 0.26]],
        "ordermin": "0.0001",
        "costmin": "0.5",
        "tick_size": "0.1",
        "status": "online",
    }
    closing = {"altname": "LOCKUSD", "wsname": "LOCK/USD", "pair_decimals": 4, "lot_decimals": 5}
    answer = {"XXBTZUSD": bitcoin, "LOCKUSD": {**closing, "status": "cancel_only"}}
    found = read("kraken", {"error": [], "result": answer})
    assert found["BTC-USD"] == Instrument(
        exchange="kraken",
        symbol="BTC-USD",
        exchange_symbol="BTC/USD",
        names=("BTC/USD", "XBT/USD", "XBTUSD", "XXBTZUSD"),
        base="BTC",
        quote="USD",
        type="spot",
        tick_size=Decimal("0.1"),
        lot_size=Decimal("1E-8"),
        status="trading",
        min_notional=Decimal("0.5"),
    )
    assert found["LOCK-USD"].status == "cancel_only"
    assert found["LOCK-USD"].tick_size == Decimal("0.0001")


def test_coinbase() -> None:
    product = {
        "id": "BTC-USD",
        "base_currency": "BTC",
        "quote_currency": "USD",
        "quote_increment": "0.01",
        "base_increment": "0.00000001",
        "display_name": "BTC-USD",
        "min_market_funds": "1",
        "status": "online",
        "cancel_only": False,
        "trading_disabled": False,
        "auction_mode": False,
    }
    found = read("coinbase", [product, {**product, "id": "ETH-USD", "base_currency": "ETH"}])
    assert found["BTC-USD"].tick_size == Decimal("0.01")
    assert found["BTC-USD"].lot_size == Decimal("1E-8")
    assert found["BTC-USD"].min_notional == 1
    stopped = read("coinbase", [{**product, "trading_disabled": True}])
    assert stopped["BTC-USD"].status == "trading_disabled"


def test_bitstamp() -> None:
    market = {
        "name": "BTC/USD",
        "market_symbol": "btcusd",
        "base_currency": "BTC",
        "base_decimals": 8,
        "counter_currency": "USD",
        "counter_decimals": 0,
        "minimum_order_value": "10",
        "trading": "Enabled",
        "instant_order_counter_decimals": 2,
        "market_type": "SPOT",
    }
    perpetual = {
        **market,
        "name": "BTC/USD-PERP",
        "market_symbol": "btcusd-perp",
        "market_type": "PERPETUAL",
        "tick_size": "0.5",
    }
    found = read("bitstamp", [market, perpetual])
    assert found["BTC-USD"].names == ("btcusd", "BTC/USD")
    assert found["BTC-USD"].tick_size == 1
    assert found["BTC-USD-PERP"].type == "perpetual"
    assert found["BTC-USD-PERP"].tick_size == Decimal("0.5")


def test_an_entry_that_cannot_be_read_leaves_the_others_alone() -> None:
    broken = [
        {**SPOT_BTC, "symbol": "AUSDT", "baseAsset": "A", "filters": []},
        {**SPOT_BTC, "symbol": "B_WHAT", "baseAsset": "B"},
        {**SPOT_BTC, "symbol": "C USDT", "baseAsset": "C C"},
        {
            **SPOT_BTC,
            "symbol": "DUSDT",
            "baseAsset": "D",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0"},
                {"filterType": "LOT_SIZE", "stepSize": "1"},
            ],
        },
        {**SPOT_BTC, "symbol": "XBTUSDT", "baseAsset": "XBT"},
    ]
    answer = json.dumps({"symbols": [*broken, SPOT_BTC]}).encode()
    listed = LISTINGS["binance"].read(answer)
    assert listed.unreadable == {
        "AUSDT": "it has no PRICE_FILTER",
        "B_WHAT": "the contract 'WHAT' is none that is known",
        "C USDT": "its symbol would be 'C C-USDT'",
        "DUSDT": "its tick is 0 and its lot 1: not above zero",
        "BTCUSDT": "another one is BTC-USDT as well",
    }
    assert [i.exchange_symbol for i in listed.instruments] == ["XBTUSDT"]


@pytest.mark.parametrize(
    ("exchange", "answer", "message"),
    [
        ("binance", b"<html>", "answered GET /api/v3/exchangeInfo with no list of instruments"),
        ("binance", b'{"symbols":[]}', "listed no instrument that can be read"),
        ("kraken", b'{"error":["EGeneral:Too many requests"]}', "EGeneral:Too many requests"),
        ("coinbase", b'{"message":"NotFound"}', "no list of instruments"),
    ],
)
def test_an_answer_without_instruments_is_refused(
    exchange: str, answer: bytes, message: str
) -> None:
    with pytest.raises(FeedError, match=message):
        LISTINGS[exchange].read(answer)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_what_the_simulator_lists_is_what_trades_there(exchange: str) -> None:
    symbols = PERPETUALS if exchange == "binance_coinm" else PAIRS
    listed = LISTINGS[exchange].read(listing(exchange, symbols).encode())
    assert listed.unreadable == {}
    assert {i.symbol for i in listed.instruments} == set(symbols)
    for found in listed.instruments:
        assert found.exchange_symbol == adapter(exchange).exchange_symbol(found.symbol)
        assert (found.exchange, found.status) == (exchange, "trading")
    if exchange == "kraken":
        assert {"XXBTZUSD", "XBT/USDT", "XETHZUSD"} <= {
            n for i in listed.instruments for n in i.names
        }
