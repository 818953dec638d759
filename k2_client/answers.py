"""What surrounds the rows of an answer."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How fresh the rows are.

    ``tail`` live: what came up to ``through`` and no table has yet is among them. down: it is not,
    ``detail`` says why. off: the API runs without Kafka.
    """

    tail: str
    through: datetime | None = None
    detail: str | None = None


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of a page are. ``freshness`` is None where a past state was asked for."""

    table: str | None = None
    snapshot_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = None
    has_more: bool = False
    next_cursor: str | None = None
    freshness: Freshness | None = None


class Answer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What the API answered, whatever its data is."""

    data: T
    meta: Meta = Meta()


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Rows in order and what they are."""

    rows: list[T]
    meta: Meta


class Count(msgspec.Struct, frozen=True):
    """How many rows there are, exactly, and about how many bytes in each format."""

    rows: int
    bytes: dict[str, int]
