"""The exchanges that K2 knows. Nobody else imports an adapter by its name."""

from __future__ import annotations

from k2_feeds.adapter import Adapter
from k2_feeds.adapters.binance import BINANCE
from k2_feeds.adapters.binance_coinm import BINANCE_COINM
from k2_feeds.adapters.binance_usdm import BINANCE_USDM
from k2_feeds.adapters.bitstamp import BITSTAMP
from k2_feeds.adapters.coinbase import COINBASE
from k2_feeds.adapters.kraken import KRAKEN
from k2_market.errors import UnknownName

ADAPTERS: dict[str, Adapter] = {
    a.exchange: a for a in (BINANCE, BINANCE_USDM, BINANCE_COINM, KRAKEN, COINBASE, BITSTAMP)
}


def adapter(exchange: str) -> Adapter:
    """The adapter of that exchange. Raises UnknownName."""
    try:
        return ADAPTERS[exchange]
    except KeyError:
        raise UnknownName("exchange", exchange, ADAPTERS) from None
