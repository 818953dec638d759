"""The names of the raw topics: one for each kind of data of each exchange."""

from __future__ import annotations

from k2_market.kinds import Kind


def raw_topic(kind: Kind, exchange: str) -> str:
    """The topic of an exchange's frames: ``market.crypto.trades.kraken.raw``."""
    return f"market.crypto.{kind}.{exchange}.raw"
