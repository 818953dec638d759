"""The names of the raw topics: one for each kind of data of each exchange."""

from __future__ import annotations

from k2_market.errors import UnknownName

KINDS = ("trades", "quotes")


def raw_topic(kind: str, exchange: str) -> str:
    """The topic of an exchange's frames: ``market.crypto.trades.kraken.raw``.

    Raises UnknownName if ``kind`` is not one of KINDS.
    """
    if kind not in KINDS:
        raise UnknownName("kind of data", kind, KINDS)
    return f"market.crypto.{kind}.{exchange}.raw"
