"""Binance COIN-M futures: Binance's protocol at another address, with quantities in contracts.

A contract is worth a fixed sum of USD: "the contract multiplier for BTC COIN-margined contracts is
100 USD. Meanwhile, altcoin contracts usually have a multiplier of 10 USD, although this may vary"
("Binance COIN-Margined Futures Contract Specifications"). Frames carry the number of contracts and
not the multiplier; K2 keeps that number, see docs/decisions/0006-quantities-in-contracts.md.
Source of the addresses: "Websocket Market Streams" of COIN-M futures.
"""

from __future__ import annotations

from k2_feeds.adapter import Adapter
from k2_feeds.adapters.binance import Binance

BINANCE_COINM: Adapter = Binance(
    "binance_coinm", "wss://dstream.binance.com", "/stream", "/binance_coinm/stream"
)
