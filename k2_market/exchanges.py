"""The exchanges that K2 knows, by the names used in tables, topics and requests.

An entry here and an adapter of the same name in ``k2_feeds/adapters`` make an exchange.
"""

from __future__ import annotations

from dataclasses import dataclass

from k2_market.errors import UnknownName


@dataclass(frozen=True)
class Exchange:
    """A venue and market. ``example`` is an instrument that trades there, canonical."""

    name: str
    title: str
    example: str


EXCHANGES: dict[str, Exchange] = {
    e.name: e
    for e in (
        Exchange("binance", "Binance spot", "BTC-USDT"),
        Exchange("binance_usdm", "Binance USD-M futures", "BTC-USDT"),
        Exchange("binance_coinm", "Binance COIN-M futures (in contracts)", "BTC-USD-PERP"),
        Exchange("kraken", "Kraken spot", "BTC-USD"),
        Exchange("coinbase", "Coinbase Exchange", "BTC-USD"),
        Exchange("bitstamp", "Bitstamp", "BTC-USD"),
    )
}


def exchange(name: str) -> Exchange:
    """The exchange of that name. Raises UnknownName."""
    try:
        return EXCHANGES[name]
    except KeyError:
        raise UnknownName("exchange", name, EXCHANGES) from None
