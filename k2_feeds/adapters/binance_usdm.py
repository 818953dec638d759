"""Binance USD-M futures: Binance's protocol at another address.

Since 2026-04-23 book tickers come from the path ``/public`` alone, as the high-frequency data that
"Important WebSocket Change Notice" puts there. It names no raw trades, which are undocumented:
others measured that these come from ``/public`` too, while ``/market`` acknowledges them and stays
silent; it has the aggregated ones.
"""

from __future__ import annotations

from k2_feeds.adapter import Adapter
from k2_feeds.adapters.binance import Binance

_PATH = "/public/stream"

BINANCE_USDM: Adapter = Binance("binance_usdm", "wss://fstream.binance.com", _PATH, _PATH)
