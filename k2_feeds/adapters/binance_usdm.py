"""Binance USD-M futures: Binance's protocol at another address.

Since 2026-04-23 trades come from the path ``/market`` ("Important WebSocket Change Notice").
"""

from __future__ import annotations

from k2_feeds.adapters.binance import Binance

_PATH = "/market/stream"

BINANCE_USDM = Binance("binance_usdm", "wss://fstream.binance.com", _PATH, _PATH)
