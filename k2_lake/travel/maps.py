"""Maps in statements that compare whole rows: by their entries, for Spark compares no maps."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def comparable(schema: pa.Schema) -> str:
    """The columns to compare, maps as lists of their entries under the same names."""
    return ", ".join(f"map_entries({f.name}) as {f.name}" if _is_map(f) else f.name for f in schema)


def as_it_was(field: pa.Field[Any], side: str) -> str:
    """A column of ``side`` after that, a map again."""
    column = f"{side}.{field.name}"
    return f"map_from_entries({column})" if _is_map(field) else column


def _is_map(field: pa.Field[Any]) -> bool:
    return pa.types.is_map(field.type)
