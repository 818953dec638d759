"""Which windows a commit of candles changed: told in its summary, for whoever follows.

So the next coarser timeframe computes those of its windows that contain one of them, and no other,
though a day's candles of an exchange are one file that is written anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from k2_lake.history import WINDOWS_CHANGED, Change

# A commit that changed more says nothing, and the day is computed whole: summaries must stay short.
AT_MOST = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE_US = 60_000_000
_NAMES = ["exchange", "symbol", "us"]

# Exchange, symbol and start.
Window = tuple[str, str, datetime]


def told(windows: Sequence[Window]) -> dict[str, str]:
    """The entry for a commit's summary, none where they are too many: minutes since 1970."""
    if len(windows) > AT_MOST:
        return {}
    minutes: dict[str, dict[str, list[int]]] = {}
    for exchange, symbol, start in sorted(windows):
        minute = (start - _EPOCH) // timedelta(minutes=1)
        minutes.setdefault(exchange, {}).setdefault(symbol, []).append(minute)
    return {WINDOWS_CHANGED: json.dumps(minutes, separators=(",", ":"))}


def changed_by(changes: Iterable[Change]) -> pa.Table | None:
    """The windows that these commits changed, None where one does not tell, or none did.

    Columns exchange, symbol and us, the window's start in microseconds since 1970.
    """
    rows: list[Mapping[str, Any]] = []
    for change in changes:
        value = change.properties.get(WINDOWS_CHANGED)
        if value is None:
            return None
        rows += [
            {"exchange": exchange, "symbol": symbol, "us": minute * _MINUTE_US}
            for exchange, of_symbols in json.loads(value).items()
            for symbol, minutes in of_symbols.items()
            for minute in minutes
        ]
    return pa.Table.from_pylist(rows) if rows else None


def containing(windows: pa.Table, length_us: int) -> pa.Table:
    """The windows of that length that contain one of these, each once."""
    starts: list[Any] = windows["us"].to_pylist()
    floored = pa.array([us - us % length_us for us in starts], pa.int64())
    column = windows.schema.get_field_index("us")
    return windows.set_column(column, "us", floored).group_by(_NAMES).aggregate([]).select(_NAMES)


def reach(windows: pa.Table, length: timedelta) -> tuple[datetime, datetime]:
    """From the start of the first window to the end of the last."""
    starts: list[Any] = windows["us"].to_pylist()
    first, last = min(starts), max(starts)
    return _EPOCH + timedelta(microseconds=first), _EPOCH + timedelta(microseconds=last) + length
