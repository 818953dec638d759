"""The kinds of market data: each has its topics, its tables and its record."""

from __future__ import annotations

from enum import StrEnum

from k2_market.errors import UnknownName
from k2_market.records import QUOTE, TRADE, Record


class Kind(StrEnum):
    """What an exchange publishes and K2 keeps; the value stands in topics, tables and requests."""

    TRADES = "trades"
    QUOTES = "quotes"

    @property
    def record(self) -> Record:
        """What a row of this kind is."""
        return _RECORDS[self]

    @property
    def identifier(self) -> str:
        """The column that, with exchange and symbol, identifies a row: ``trade_id``."""
        return self.record.key[-1]


_RECORDS = {Kind.TRADES: TRADE, Kind.QUOTES: QUOTE}


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises UnknownName."""
    try:
        return Kind(name)
    except ValueError:
        raise UnknownName("kind of data", name, list(Kind)) from None
