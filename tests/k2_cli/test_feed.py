from __future__ import annotations

import pytest

from k2_cli.feed import default_instruments, instruments
from k2_feeds.adapters import ADAPTERS, adapter
from k2_market.errors import UnknownName, UsageError


def test_without_a_wish_every_exchange_records_three_instruments_that_it_has() -> None:
    found = instruments(default_instruments())
    assert set(found) == set(ADAPTERS)
    assert found["binance_coinm"] == ("BTC-USD-PERP", "ETH-USD-PERP", "SOL-USD-PERP")
    assert found["coinbase"] == found["bitstamp"] == ("BTC-USD", "ETH-USD", "SOL-USD")
    spelt = {name: adapter(name).exchange_symbol(symbols[0]) for name, symbols in found.items()}
    assert spelt == {
        "binance": "BTCUSDT",
        "binance_usdm": "BTCUSDT",
        "binance_coinm": "BTCUSD_PERP",
        "kraken": "BTC/USD",
        "coinbase": "BTC-USD",
        "bitstamp": "btcusd",
    }


def test_instruments_are_named_with_their_exchange() -> None:
    assert instruments(["kraken:btc-usd", "kraken:ETH-USD"]) == {"kraken": ("BTC-USD", "ETH-USD")}
    with pytest.raises(UsageError, match="'kraken' was not EXCHANGE:BASE-QUOTE"):
        instruments(["kraken"])
    with pytest.raises(UnknownName, match="unknown exchange 'mtgox'"):
        instruments(["mtgox:BTC-USD"])
