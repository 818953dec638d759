"""The contract of an exchange's list of instruments: where it stands, and how it is read.

One bad entry leaves the others alone: it is named, with the reason, and left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_market.errors import FeedError
from k2_market.instruments import canonical_symbol
from k2_market.listing import TRADING, Instrument

_SYMBOL = re.compile(r"[^\s/_-]+-[^\s/_-]+(-[^\s/_-]+)?")
# What INSTRUMENT's decimals hold: 20 digits before the point, 18 behind it.
_DIGITS, _SCALE = 38, 18

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Listed:
    """What an answer lists; ``unreadable`` has the reason by the name of each entry left out."""

    instruments: tuple[Instrument, ...]
    unreadable: Mapping[str, str]


@dataclass(frozen=True)
class Listing:
    """An exchange's list: the path of its GET, what that costs, and what the answer says.

    ``entries`` raises one of ``WIRE_ERRORS`` for an answer that is no list.
    """

    exchange: str
    path: str
    weight: int
    entries: Callable[[bytes], Listed]

    def read(self, answer: bytes) -> Listed:
        """The instruments. Raises FeedError where there are none, which would close them all."""
        try:
            listed = self.entries(answer)
        except WIRE_ERRORS as error:
            raise FeedError(
                f"{self.exchange} answered GET {self.path} with no list of instruments: {error}. "
                "Nothing was changed."
            ) from None
        if not listed.instruments:
            raise FeedError(
                f"{self.exchange} listed no instrument that can be read at GET {self.path}. "
                "Nothing was changed."
            )
        return listed


def collect(
    entries: Iterable[Entry], name: Callable[[Entry], str], read: Callable[[Entry], Instrument]
) -> Listed:
    """The entries as instruments; of two with one symbol the one that trades, else the first."""
    found: dict[str, Instrument] = {}
    unreadable: dict[str, str] = {}
    for entry in entries:
        try:
            instrument = _valid(read(entry))
        except WIRE_ERRORS as error:
            unreadable[name(entry)] = str(error)
            continue
        other = found.get(instrument.symbol)
        if other is None or (other.status != TRADING and instrument.status == TRADING):
            found[instrument.symbol] = instrument
        left_out = other if found[instrument.symbol] is instrument else instrument
        if left_out is not None:
            unreadable[left_out.exchange_symbol] = f"another one is {instrument.symbol} as well"
    return Listed(tuple(found[s] for s in sorted(found)), unreadable)


def decimals_step(decimals: int) -> Decimal:
    """The smallest step of a number with so many decimals: 0.01 for 2."""
    return Decimal(1).scaleb(-decimals)


def names(*spellings: str | None) -> tuple[str, ...]:
    """The names that are there, each once."""
    return tuple(dict.fromkeys(s for s in spellings if s))


def status(word: str, trading: str) -> str:
    """``trading`` for the exchange's word for it, else its word in lower case."""
    return TRADING if word == trading else word.lower()


def _valid(instrument: Instrument) -> Instrument:
    """The instrument itself. Raises ValueError for terms that INSTRUMENT cannot hold."""
    if not _SYMBOL.fullmatch(instrument.symbol):
        raise ValueError(f"its symbol would be {instrument.symbol!r}")
    for what in ("tick_size", "lot_size", "min_notional", "contract_size"):
        value: Decimal | None = getattr(instrument, what)
        if value is not None and not _holds(value):
            raise ValueError(f"its {what} is {value}, which does not fit")
    if instrument.tick_size <= 0 or instrument.lot_size <= 0:
        raise ValueError(
            f"its tick is {instrument.tick_size} and its lot {instrument.lot_size}: not above zero"
        )
    return instrument


def _holds(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    # NaN and infinity have letters there.
    return isinstance(exponent, int) and exponent >= -_SCALE and value.adjusted() < _DIGITS - _SCALE


def spelled(symbol: str) -> str:
    """The canonical spelling. Raises ValueError where it cannot be read."""
    found = canonical_symbol(symbol)
    if found is None:
        raise ValueError(f"the symbol {symbol!r} cannot be read")
    return found


def decoded(answer: bytes, kind: type[Entry]) -> Entry:
    """The answer as that type; unknown fields are passed over. Raises one of ``WIRE_ERRORS``."""
    return msgspec.json.decode(answer, type=kind)
