"""What exchanges list, and since when: an instrument's terms, kept as they were at every time.

A refresh compares an exchange's list with what was known: changed terms close the old version and
open a new one at the same instant, what vanished is closed, what stayed the same is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import pyarrow as pa

from k2_market.records import INSTANT, Record, field

STEP = pa.decimal128(38, 18)

INSTRUMENT = Record(
    name="Instrument",
    doc="The terms of an instrument as its exchange listed them, for as long as they held.",
    schema=pa.schema(
        [
            field("exchange", pa.string(), "Venue and market."),
            field("symbol", pa.string(), "Canonical symbol, BASE-QUOTE or BASE-QUOTE-CONTRACT."),
            field("exchange_symbol", pa.string(), "The symbol in the exchange's streams."),
            field(
                "names",
                pa.list_(pa.field("element", pa.string(), nullable=False)),
                "All names that the exchange has for it: XXBTZUSD, XBTUSD, XBT/USD, BTC/USD.",
            ),
            field("base", pa.string(), "What is traded."),
            field("quote", pa.string(), "What it is priced in."),
            field("type", pa.string(), "spot, perpetual or future."),
            field("tick_size", STEP, "The smallest step of a price, in quote currency."),
            field("lot_size", STEP, "The smallest step of a quantity, in its own unit."),
            field("min_notional", STEP, "The least worth of an order, in quote.", nullable=True),
            field(
                "contract_size",
                STEP,
                "What a contract is worth in contract_currency; null where quantities are in base.",
                nullable=True,
            ),
            field("contract_currency", pa.string(), "The currency of that worth.", nullable=True),
            field("status", pa.string(), "trading, else the exchange's word, in lower case."),
            field("valid_from", INSTANT, "When K2 first saw these terms, inclusive."),
            field(
                "valid_to",
                INSTANT,
                "When it saw others, or none, exclusive; null while they hold.",
                nullable=True,
            ),
        ]
    ),
    key=("exchange", "symbol", "valid_from"),
    order=("symbol", "valid_from"),
    day="",
    partition=("exchange",),
)

SPOT, PERPETUAL, FUTURE = "spot", "perpetual", "future"
TRADING = "trading"


@dataclass(frozen=True)
class Instrument:
    """The terms of one instrument, as its exchange states them; fields as in INSTRUMENT."""

    exchange: str
    symbol: str
    exchange_symbol: str
    names: tuple[str, ...]
    base: str
    quote: str
    type: str
    tick_size: Decimal
    lot_size: Decimal
    status: str
    min_notional: Decimal | None = None
    contract_size: Decimal | None = None
    contract_currency: str | None = None


@dataclass(frozen=True)
class Version:
    """Terms that hold from ``valid_from``, inclusive, to ``valid_to``, exclusive; None is now."""

    terms: Instrument
    valid_from: datetime
    valid_to: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether these were the terms at that instant."""
        return self.valid_from <= at and (self.valid_to is None or at < self.valid_to)


def succeed(
    history: Sequence[Version], listed: Iterable[Instrument], at: datetime
) -> tuple[Version, ...]:
    """The history of one exchange after its list of ``at``, by symbol and time.

    ``listed`` names each symbol once. A list that is not newer than the last change changes
    nothing, so that the past cannot be rewritten.
    """
    before = tuple(sorted(history, key=_order))
    if any(changed >= at for v in history for changed in (v.valid_from, v.valid_to) if changed):
        return before
    now = {terms.symbol: terms for terms in listed}
    current = {v.terms.symbol: v.terms for v in before if v.valid_to is None}
    kept = (
        replace(v, valid_to=at) if v.valid_to is None and now.get(v.terms.symbol) != v.terms else v
        for v in before
    )
    begun = (Version(terms, at) for symbol, terms in now.items() if current.get(symbol) != terms)
    return tuple(sorted((*kept, *begun), key=_order))


def as_of(history: Iterable[Version], at: datetime) -> dict[str, Instrument]:
    """The terms that held at that instant, by symbol; of one exchange."""
    return {v.terms.symbol: v.terms for v in history if v.holds(at)}


def _order(version: Version) -> tuple[str, datetime]:
    return version.terms.symbol, version.valid_from
