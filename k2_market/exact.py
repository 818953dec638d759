"""Text to decimals and instants, exactly: what does not fit is refused, never rounded.

A column is converted in one cast. Where that fails, halves are tried until the values to blame
stand alone, so that a value is judged the same whether it comes alone or among a million.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_market.records import INSTANT

LARGEST_ID = 2**63 - 2

if TYPE_CHECKING:
    _Convert = Callable[[pa.Array[Any]], pa.Array[Any]]


def decimals(
    texts: pa.Array[Any], dtype: pa.Decimal128Type[Any, Any]
) -> tuple[pa.Array[Any], list[int]]:
    """The decimals that ``texts`` (string or binary) write, and the positions of those refused.

    Refused, and null in the result: what is no decimal number, more digits than ``dtype`` holds,
    and digits beyond its scale. ``1e-3`` and trailing zeros are fine.
    """
    return _convert(texts, lambda part: part.cast(pa.string()).cast(dtype))


def instants(values: pa.Array[Any]) -> tuple[pa.Array[Any], list[int]]:
    """The instants of ISO 8601 texts with an offset, or of int64 microseconds since 1970 UTC.

    Also the positions of those refused, which are null in the result: no date and time, no offset,
    digits beyond microseconds. A null is no refusal.
    """
    return _convert(values, lambda part: part.cast(INSTANT))


def integers(texts: pa.Array[Any], most: int = LARGEST_ID) -> tuple[pa.Array[Any], list[int]]:
    """The whole numbers from 0 to ``most`` that ``texts`` write.

    Also the positions of those refused, which are null in the result.
    """
    return _convert(texts, lambda part: _within(part.cast(pa.int64()), most))


def _within(numbers: pa.Array[Any], most: int) -> pa.Array[Any]:
    bounds = pc.min_max(numbers)
    least, largest = bounds["min"].as_py(), bounds["max"].as_py()
    if least is not None and (least < 0 or largest > most):
        raise pa.ArrowInvalid(f"{least} or {largest} is not from 0 to {most}")
    return numbers


def _convert(values: pa.Array[Any], convert: _Convert) -> tuple[pa.Array[Any], list[int]]:
    refused: list[int] = []
    parts = _halve(values, 0, convert, refused)
    return (parts[0] if len(parts) == 1 else pa.concat_arrays(parts)), refused


def _halve(
    values: pa.Array[Any], start: int, convert: _Convert, refused: list[int]
) -> list[pa.Array[Any]]:
    try:
        return [convert(values)]
    except pa.ArrowInvalid:
        if len(values) == 1:
            refused.append(start)
            return [convert(pa.nulls(1, values.type))]
    middle = len(values) // 2
    left = _halve(values[:middle], start, convert, refused)
    return left + _halve(values[middle:], start + middle, convert, refused)
