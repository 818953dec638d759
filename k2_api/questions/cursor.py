"""The cursor: where a page ended, by the key of its last row.

A key stays right while the table grows, where a row number would not. The cursor carries a digest
of itself and of the question, so that one that was altered, or that belongs to another question, is
refused instead of giving a page from nowhere. It is no secret: a forged one can name no more than a
key, and that is bound to the query like every other value.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec

from k2_market.errors import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGEST = 8

KeyValue = str | int | datetime


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The start of the range as it was applied, and the key of the last row of the page.

    ``snapshot`` is the one that the pages are read from, None where each reads the newest.
    """

    start: int | None
    exchange: str
    symbol: str
    at: int
    tie: tuple[int, str] | None = None
    snapshot: int | None = None

    @property
    def start_at(self) -> datetime | None:
        """The start of the range."""
        return None if self.start is None else _instant(self.start)

    @property
    def key(self) -> tuple[KeyValue, ...]:
        """The key's values, in the order of rows."""
        return (self.exchange, self.symbol, _instant(self.at), *(self.tie or ()))


def after(start: datetime | None, key: Sequence[Any], snapshot: int | None = None) -> Cursor:
    """The cursor behind the row with this key: exchange, symbol, instant and what breaks ties."""
    exchange, symbol, at, *tie = key
    return Cursor(
        None if start is None else _micros(start),
        exchange,
        symbol,
        _micros(at),
        (tie[0], tie[1]) if tie else None,
        snapshot,
    )


def encode(cursor: Cursor, question: str) -> str:
    """The text form, bound to the question it was made for."""
    payload = msgspec.json.encode(cursor)
    return base64.urlsafe_b64encode(_digest(payload, question) + payload).decode().rstrip("=")


def decode(text: str, question: str, *, ties: bool) -> Cursor:
    """The inverse of ``encode``. Raises UsageError for anything that it did not make.

    ``ties`` says whether the key has values beside exchange, symbol and instant.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(raw[_DIGEST:], type=Cursor)
        valid = encode(cursor, question) == text and (cursor.tie is not None) == ties
        if valid and (cursor.key, cursor.start_at):
            return cursor
    except (binascii.Error, ValueError, OverflowError, msgspec.MsgspecError):
        pass
    raise UsageError(
        "cursor: this is not a cursor of this question. Send next_cursor unchanged, with the same "
        "symbol, exchange, start, end and as_of as before; or leave it out to begin anew."
    )


def _digest(payload: bytes, question: str) -> bytes:
    return blake2b(payload + b"\0" + question.encode(), digest_size=_DIGEST).digest()


def _micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _instant(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)
