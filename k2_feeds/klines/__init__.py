"""The exchanges' own candles: over REST, and from the files that they publish.

An exchange without an entry publishes none that could be compared.
"""

from __future__ import annotations

from datetime import datetime

from k2_feeds.adapters import adapter
from k2_feeds.klines import binance
from k2_feeds.klines.bitstamp import BITSTAMP
from k2_feeds.klines.coinbase import COINBASE
from k2_feeds.klines.kraken import KRAKEN
from k2_feeds.klines.source import Asked, KlineSource
from k2_feeds.rest import RestClient
from k2_market.errors import UnknownName, UsageError
from k2_market.klines import Published
from k2_market.timeframes import Timeframe

KLINES: dict[str, KlineSource] = {
    "binance": binance.SPOT,
    "binance_usdm": binance.USDM,
    "binance_coinm": binance.COINM,
    "kraken": KRAKEN,
    "coinbase": COINBASE,
    "bitstamp": BITSTAMP,
}


def ask(
    client: RestClient, symbol: str, frame: Timeframe, start: datetime, end: datetime
) -> Published:
    """The klines of a canonical symbol whose windows start in [start, end), as far as they reach.

    An exchange that keeps only the newest answers from a later start on; where it has none of the
    time at all, the range is empty. Raises FeedError where it does not answer or refuses,
    UsageError where it has no such timeframe.
    """
    if client.exchange not in KLINES:
        raise UnknownName("exchange with candles of its own", client.exchange, KLINES)
    source = KLINES[client.exchange]
    if frame.name not in source.timeframes:
        raise UsageError(
            f"{client.exchange} publishes no candles of {frame.name}. "
            f"It has: {', '.join(source.timeframes)}."
        )
    name = adapter(client.exchange).exchange_symbol(symbol)
    asked = Asked(name, frame, start, end)
    klines = sorted(source.ask(client, asked), key=lambda k: k.window_start)
    within = [k for k in klines if start <= k.window_start < end]
    if source.keeps_all:
        reaches = start
    else:
        reaches = max(start, min((k.window_start for k in klines), default=end))
    return Published(within, min(reaches, end), end, f"GET {source.path}")
