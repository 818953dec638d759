"""The cursor: where a page ended, by the key of its last row.

A key stays right while the table grows, where a row number would not. The cursor carries a digest
of itself and of the question, so that one that was altered, or that belongs to another question, is
refused instead of giving a page from nowhere. It is no secret: a forged one can name no more than a
key, and that is bound to the query like every other value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
import pyarrow as pa

from k2_api.questions.sealed import seal, unseal
from k2_market.errors import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = EPOCH.date()

KeyValue = str | int | datetime | date


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The start of the range as it was applied, and the key of the last row of the page.

    Instants are microseconds and days are days since 1970. ``snapshot`` is the one that the pages
    are read from, None where each reads the newest.
    """

    start: int | None
    values: tuple[str | int, ...]
    snapshot: int | None = None

    @property
    def start_at(self) -> datetime | None:
        """The start of the range."""
        return None if self.start is None else _instant(self.start)

    def key(self, types: Sequence[pa.DataType]) -> tuple[KeyValue, ...]:
        """The key's values, which are of these types. Raises ValueError, OverflowError."""
        return tuple(_read(v, kind) for v, kind in zip(self.values, types, strict=True))


def after(start: datetime | None, key: Sequence[KeyValue], snapshot: int | None = None) -> Cursor:
    """The cursor behind the row with this key."""
    began = None if start is None else _micros(start)
    return Cursor(began, tuple(map(_written, key)), snapshot)


def encode(cursor: Cursor, question: str) -> str:
    """The text form, bound to the question it was made for."""
    return seal(msgspec.json.encode(cursor), question)


def decode(text: str, question: str, types: Sequence[pa.DataType]) -> Cursor:
    """The inverse of ``encode``. Raises UsageError for anything that it did not make.

    ``types`` are those of the key's values.
    """
    try:
        cursor = msgspec.json.decode(unseal(text, question) or b"", type=Cursor)
        if encode(cursor, question) == text and (cursor.key(types), cursor.start_at):
            return cursor
    except (ValueError, OverflowError, msgspec.MsgspecError):
        pass
    raise UsageError(
        "cursor: this is not a cursor of this question. Send next_cursor unchanged, with all else "
        "as it was asked before; or leave it out to begin anew."
    )


def _written(value: KeyValue) -> str | int:
    if isinstance(value, datetime):
        return _micros(value)
    return (value - _FIRST_DAY).days if isinstance(value, date) else value


def _read(value: str | int, kind: pa.DataType) -> KeyValue:
    if pa.types.is_string(kind) is not isinstance(value, str):
        raise ValueError(value)
    if isinstance(value, str):
        return value
    if pa.types.is_timestamp(kind):
        return _instant(value)
    return _FIRST_DAY + timedelta(days=value) if pa.types.is_date(kind) else value


def _micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _instant(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)
