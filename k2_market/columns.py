"""Columns put together to rows of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa


def filled(columns: Mapping[str, Any], schema: pa.Schema, rows: int) -> pa.Table:
    """The table of that schema; a nullable column that nobody fills is null in all ``rows``.

    So a column may be added to a record before there is a source that has something to say of it.
    Columns beyond the schema are left out, others cast to its types. Raises KeyError for a required
    column that is not given.
    """
    arrays = [
        pa.nulls(rows, field.type)
        if field.nullable and field.name not in columns
        else columns[field.name]
        for field in schema
    ]
    return pa.table(arrays, schema=schema)
