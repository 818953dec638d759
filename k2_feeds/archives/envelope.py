r"""What a frame of origin ``archive`` looks like: one line of JSON, and the row's bytes untouched.

    {"archive":"binance.trades","file":"BTCUSDT-trades-2024-08-08.csv","symbol":"BTCUSDT",
     "columns":["id","price","qty","quote_qty","time","is_buyer_maker","is_best_match"]}\n
    3735683259,61837.63000000,0.02000000,1236.75260000,1723161255342,True,True

(the first two lines are one). ``archive`` names the layout, ``columns`` the row's cells in order,
in the archive's own words. ``symbol`` is the exchange's spelling, "" where each row has its own.
The frame's sequence is the number of the row's line in ``file``, counted from 1; for JSON documents
it counts the trades. The line is the same for all rows of a file, so reading it costs nothing.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

END = b"\n"
_SHOWN = 4096  # bytes; no head that K2 writes is longer


class Head(msgspec.Struct, frozen=True):
    """The first line of an archive's frame."""

    archive: str
    file: str
    symbol: str
    columns: tuple[str, ...]


_decode = msgspec.json.Decoder(Head).decode


def encode_head(head: Head) -> bytes:
    """The line with its end: put the row's bytes behind it."""
    return msgspec.json.encode(head) + END


@lru_cache(maxsize=1024)
def decode_head(line: bytes) -> Head | None:
    """The head that this line (without its end) is, None if it is none."""
    try:
        return _decode(line[:_SHOWN])
    except ValueError:
        return None
