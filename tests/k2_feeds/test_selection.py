from __future__ import annotations

import pytest

from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.selection import Recorded, narrowed, read_selection
from k2_market.errors import UsageError
from k2_market.exchanges import EXCHANGES
from k2_market.instruments import canonical_symbol
from k2_market.kinds import Kind
from k2_market.settings_file import Misconfigured
from tests.needs import CHECKOUT

TWO = """\
exchanges:
  kraken:
    kinds: [trades, quotes]
    symbols: [BTC-USD, ETH-USD]
  binance_coinm:
    kinds: [trades]
    symbols:
      - BTC-USD-PERP
"""
KRAKEN = Recorded("kraken", (Kind.TRADES, Kind.QUOTES), ("BTC-USD", "ETH-USD"))
COINM = Recorded("binance_coinm", (Kind.TRADES,), ("BTC-USD-PERP",))


def test_exchanges_kinds_and_symbols_are_read_in_the_order_of_the_file() -> None:
    assert read_selection(TWO, "instruments.yaml") == (KRAKEN, COINM)


def test_the_file_of_the_repository_names_every_exchange_and_what_trades_there() -> None:
    found = read_selection((CHECKOUT / "instruments.yaml").read_text(), "instruments.yaml")
    assert [r.exchange for r in found] == list(EXCHANGES)
    assert {k for r in found for k in r.kinds} == {"trades", "quotes"}
    assert all(EXCHANGES[r.exchange].example in r.symbols for r in found)
    assert {r.exchange for r in found} == set(ADAPTERS)
    for recorded in found:
        for symbol in recorded.symbols:
            assert canonical_symbol(adapter(recorded.exchange).exchange_symbol(symbol)) == symbol


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "kraken:",
            "mtgox:",
            (
                "f.yaml, line 3, exchanges.mtgox: 'mtgox' is no exchange. Allowed: binance, "
                "binance_usdm, binance_coinm, kraken, coinbase, bitstamp."
            ),
        ),
        (
            "[trades, quotes]",
            "[trades, trade]",
            "f.yaml, line 3, exchanges.kraken.kinds: 'trade' is no kind. Allowed: trades, quotes.",
        ),
        (
            "- BTC-USD-PERP",
            "- BTCUSD_PERP",
            (
                "f.yaml, line 8, exchanges.binance_coinm.symbols: 'BTCUSD_PERP' is not written "
                "BASE-QUOTE or BASE-QUOTE-CONTRACT. Write BTC-USD-PERP."
            ),
        ),
        (
            "[BTC-USD, ETH-USD]",
            "[XBT-USD]",
            (
                "f.yaml, line 4, exchanges.kraken.symbols: 'XBT-USD' is not written BASE-QUOTE or "
                "BASE-QUOTE-CONTRACT. Write BTC-USD."
            ),
        ),
        (
            "ETH-USD]",
            "HELLO]",
            (
                "f.yaml, line 4, exchanges.kraken.symbols: 'HELLO' is not written BASE-QUOTE or "
                "BASE-QUOTE-CONTRACT. Write it like BTC-USDT or BTC-USD-PERP."
            ),
        ),
        (
            "ETH-USD]",
            "BTC-USD]",
            (
                "f.yaml, line 4, exchanges.kraken.symbols: 'BTC-USD' stands there twice. "
                "Leave one of them out."
            ),
        ),
        (
            "[BTC-USD, ETH-USD]",
            "[]",
            "f.yaml, line 4, exchanges.kraken.symbols: the list is empty. Name one at least.",
        ),
        (
            "[trades, quotes]",
            "trades",
            (
                "f.yaml, line 3, exchanges.kraken.kinds: 'trades' is no list. "
                "Write one: [BTC-USDT, ETH-USDT]."
            ),
        ),
        (
            "    kinds: [trades, quotes]\n",
            "",
            "f.yaml, line 3, exchanges.kraken.kinds: is missing. Add `kinds:` there.",
        ),
        (
            "kinds: [trades]",
            "kind: [trades]",
            "f.yaml, line 6, exchanges.binance_coinm.kind: is not known. Allowed: kinds, symbols.",
        ),
        (
            "binance_coinm:",
            "kraken:",
            "f.yaml, line 5, exchanges.kraken: stands there twice. Leave one of them out.",
        ),
        (
            "exchanges:",
            "exchange:",
            "f.yaml, line 1, exchange: is not known. Allowed: exchanges.",
        ),
        (
            "[BTC-USD, ETH-USD]",
            "[BTC-USD, ETH-USD",
            (
                "f.yaml, line 5: this is no YAML: expected ',' or ']', but got ':'. "
                "Correct the line, or the indentation of those around it."
            ),
        ),
        (TWO, "", "f.yaml is empty. Write `exchanges:` and what to record of each."),
        (
            TWO,
            "exchanges: {}",
            "f.yaml, line 1, exchanges: is empty. Name one exchange at least.",
        ),
        (
            TWO,
            "- kraken",
            "f.yaml, line 1: a list has no entries of its own. Allowed: exchanges.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_its_key_and_what_is_allowed(
    before: str, after: str, message: str
) -> None:
    assert before in TWO
    with pytest.raises(Misconfigured) as refused:
        read_selection(TWO.replace(before, after), "f.yaml")
    assert str(refused.value) == message


def test_a_symbol_that_the_exchange_never_listed_is_refused_with_what_is_near() -> None:
    listed = {"kraken": ["BTC-USD", "ETH-EUR", "ETH-USDT", "SOL-USD"]}
    with pytest.raises(Misconfigured) as refused:
        read_selection(TWO, "f.yaml", listed)
    assert str(refused.value) == (
        "f.yaml, line 4, exchanges.kraken.symbols: 'ETH-USD' is not among the 4 instruments of "
        "kraken. Did you mean ETH-USDT or ETH-EUR? "
        "If it is new there: k2 instruments refresh."
    )
    everything = {"kraken": ["BTC-USD", "ETH-USD"], "binance": ["A-B"]}
    assert read_selection(TWO, "f.yaml", everything) == (KRAKEN, COINM)


def test_names_keep_their_part_of_the_selection() -> None:
    both = (KRAKEN, COINM)
    assert narrowed(both, [], [], []) == both
    assert narrowed(both, ["kraken"], [], ["trades"]) == (
        Recorded("kraken", (Kind.TRADES,), KRAKEN.symbols),
    )
    assert narrowed(both, [], ["XXBTZUSD"], []) == (Recorded("kraken", KRAKEN.kinds, ("BTC-USD",)),)


@pytest.mark.parametrize(
    ("exchanges", "symbols", "kinds", "message"),
    [
        (["bitstamp"], [], [], "--exchange 'bitstamp' is not among what is recorded"),
        (["kraken"], ["BTC-USD-PERP"], [], "--symbol 'BTC-USD-PERP' is not among what is recorded"),
        ([], [], ["candles"], "--kind 'candles' is not among what is recorded"),
        ([], ["BTC-USD-PERP"], ["quotes"], "no exchange records these symbols and kinds together"),
    ],
)
def test_a_name_that_keeps_nothing_is_refused(
    exchanges: list[str], symbols: list[str], kinds: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        narrowed((KRAKEN, COINM), exchanges, symbols, kinds)
