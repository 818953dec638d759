"""The names of the topics, raw and typed: one of each for each kind of data of each exchange."""

from __future__ import annotations

from k2_market.kinds import Kind


def raw_topic(kind: Kind, exchange: str) -> str:
    """The topic of an exchange's frames: ``market.crypto.trades.kraken.raw``."""
    return f"{typed_topic(kind, exchange)}.raw"


def typed_topic(kind: Kind, exchange: str) -> str:
    """The topic of an exchange's records in Avro: ``market.crypto.trades.kraken``."""
    return f"market.crypto.{kind}.{exchange}"
