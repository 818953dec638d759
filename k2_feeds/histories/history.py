"""The contract of an exchange's REST history: what to ask for the trades from one id to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_feeds.archives.layouts import Layout
from k2_feeds.rest import RestClient
from k2_market.errors import RequestRefused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True)
class Wanted:
    """Trades of a symbol by their ids, both inclusive, and the times of the trades around them.

    ``name`` is the exchange's spelling of the symbol in its live feed.
    """

    name: str
    first_id: int
    last_id: int
    before_at: datetime
    after_at: datetime

    @property
    def count(self) -> int:
        """How many trades."""
        return self.last_id - self.first_id + 1


@dataclass(frozen=True)
class Answered:
    """One trade as it was answered, and the ids that it stands for."""

    first_id: int
    last_id: int
    row: bytes


@dataclass(frozen=True)
class History:
    """How an exchange is asked. ``ask`` gives what it answers, more than is wanted perhaps.

    ``columns`` names a row's values in order, in the words of the layout. ``shortfall`` says why
    trades can be missing in answers that are complete.
    """

    layout: Layout
    columns: Callable[[bytes], tuple[str, ...]]
    ask: Callable[[RestClient, Wanted], Iterator[Answered]]
    shortfall: str


def elements(body: bytes, path: str) -> list[bytes]:
    """The elements of an answer that is an array, byte for byte. Raises RequestRefused."""
    try:
        return [bytes(raw) for raw in _rows(body)]
    except WIRE_ERRORS:
        raise RequestRefused(f"GET {path} was answered with no list: {body[:200]!r}.") from None


def named(words: Mapping[str, str]) -> Callable[[bytes], tuple[str, ...]]:
    """The columns of a row that is an object: its own keys, some in other words."""

    def columns(row: bytes) -> tuple[str, ...]:
        return tuple(words.get(key, key) for key in _object(row))

    return columns


def micros(at: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (at - _EPOCH) // timedelta(microseconds=1)
