"""The lists of instruments that exchanges publish, by exchange.

An exchange without an entry is none the worse: its symbols are then read by rule alone.
"""

from __future__ import annotations

from k2_feeds.listings.binance import BINANCE, BINANCE_COINM, BINANCE_USDM
from k2_feeds.listings.bitstamp import BITSTAMP
from k2_feeds.listings.coinbase import COINBASE
from k2_feeds.listings.kraken import KRAKEN
from k2_feeds.listings.listing import Listing

LISTINGS: dict[str, Listing] = {
    each.exchange: each
    for each in (BINANCE, BINANCE_USDM, BINANCE_COINM, KRAKEN, COINBASE, BITSTAMP)
}
