from __future__ import annotations

import pytest

from k2_market.instruments import canonical_symbol, quote_currency


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
