from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k2_market.instruments import canonical_asset, canonical_symbol, quote_currency


@pytest.mark.parametrize(
    ("written", "symbol"),
    [
        ("BTCUSDT", "BTC-USDT"),
        ("btcusd", "BTC-USD"),
        ("XBT/USD", "BTC-USD"),
        ("BTC-USD", "BTC-USD"),
        ("BTCUSD_PERP", "BTC-USD-PERP"),
        ("btcusd-perp", "BTC-USD-PERP"),
        ("BTC-USD-PERP", "BTC-USD-PERP"),
        ("BTCUSD_240927", "BTC-USD-240927"),
        ("BTCUSDT_240927", "BTC-USDT-240927"),
        ("PERPUSDT", "PERP-USDT"),
        ("PERP-USD", "PERP-USD"),
        ("XXBTZUSD", "BTC-USD"),
        ("xethzusd", "ETH-USD"),
        ("XETHXXBT", "ETH-BTC"),
        ("XXDGXXBT", "DOGE-BTC"),
        ("XXBT/ZUSD", "BTC-USD"),
        ("XDGUSD", "DOGE-USD"),
        ("XBTUSD", "BTC-USD"),
        ("XBTTUSD", "BTC-TUSD"),
        ("XBTUSDT", "BTC-USDT"),
        ("USDTZUSD", "USDT-USD"),
        ("XTZUSD", "XTZ-USD"),
        ("ZECUSD", "ZEC-USD"),
        ("XRPUSD", "XRP-USD"),
        ("XBT-ZUSD-PERP", "BTC-USD-PERP"),
        ("BTC/USD/EUR/GBP", None),
        ("BTC/", None),
        ("USD/PERP", None),
        ("BTCWHAT", None),
        ("WHAT_PERP", None),
        ("", None),
    ],
)
def test_every_spelling_of_an_instrument_has_one_canonical_symbol(
    written: str, symbol: str | None
) -> None:
    assert canonical_symbol(written) == symbol
    assert symbol is None or canonical_symbol(symbol) == symbol


def test_a_contract_is_quoted_in_its_quote_currency() -> None:
    assert quote_currency("BTC-USD-PERP") == "USD"


@given(st.text(st.sampled_from("XZBTCUSDPER0249/-_ abß"), max_size=14))
@example("A/123456")
@example("BTC-USD_240927-PERP")
def test_a_canonical_symbol_is_its_own_canonical_symbol(written: str) -> None:
    symbol = canonical_symbol(written)
    assert symbol is None or canonical_symbol(symbol) == symbol


@pytest.mark.parametrize(
    ("code", "asset"),
    [("XBT", "BTC"), ("XXBT", "BTC"), ("xdg", "DOGE"), ("XXDG", "DOGE"), ("ZUSD", "USD")]
    + [(same, same) for same in ("BTC", "XTZ", "ZEC", "ZRX", "XLM", "USD", "ZETA")],
)
def test_an_asset_has_one_name_whatever_kraken_puts_before_it(code: str, asset: str) -> None:
    assert canonical_asset(code) == asset
    assert canonical_asset(asset) == asset
