"""The messages of a stream: rows of one channel, exchange and symbol, as replay and live send them.

Rows come as JSON texts, made as the history makes them, and are never read again on their way.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

NDJSON = "application/x-ndjson"


def rows_message(
    channel: str, exchange: str, symbol: str, rows: Sequence[str], cursor: str | None
) -> str:
    """A message with these rows; ``cursor`` is where to go on behind it.

    The type of ``ohlcv.1m`` is ohlcv: what the rows are.
    """
    head = _text(
        {
            "type": channel.partition(".")[0],
            "channel": channel,
            "exchange": exchange,
            "symbol": symbol,
        }
    )
    return f'{head[:-1]},"data":[{",".join(rows)}],"cursor":{_text(cursor)}}}'


def told(kind: str, **said: object) -> str:
    """A message without rows: ``subscribed``, ``end``, ``error``."""
    return _text({"type": kind, **said})


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
