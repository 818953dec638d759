"""The exchanges that K2 knows, by the names used in tables, topics and requests.

An entry here and an adapter of the same name in ``k2_feeds/adapters`` make an exchange.
"""

from __future__ import annotations

from dataclasses import dataclass

from k2_market.errors import UnknownName


@dataclass(frozen=True)
class Exchange:
    """A venue and market. ``example`` is an instrument that trades there, canonical.

    ``consecutive_ids``: each trade of a symbol has the id after the one before it, so that ids tell
    what is missing. Sources: "Trade Streams" of Binance and "Old Trade Lookup" (ids of futures
    count INSURANCE_FUND and ADL prints as well); Kraken's "Trade" (WebSocket v2: "sequence number,
    unique per book"); "Match" of Coinbase Exchange. Bitstamp's ids count the trades of all its
    pairs together.
    """

    name: str
    title: str
    example: str
    consecutive_ids: bool = True


EXCHANGES: dict[str, Exchange] = {
    e.name: e
    for e in (
        Exchange("binance", "Binance spot", "BTC-USDT"),
        Exchange("binance_usdm", "Binance USD-M futures", "BTC-USDT"),
        Exchange("binance_coinm", "Binance COIN-M futures (in contracts)", "BTC-USD-PERP"),
        Exchange("kraken", "Kraken spot", "BTC-USD"),
        Exchange("coinbase", "Coinbase Exchange", "BTC-USD"),
        Exchange("bitstamp", "Bitstamp", "BTC-USD", consecutive_ids=False),
    )
}


def exchange(name: str) -> Exchange:
    """The exchange of that name. Raises UnknownName."""
    try:
        return EXCHANGES[name]
    except KeyError:
        raise UnknownName("exchange", name, EXCHANGES) from None
