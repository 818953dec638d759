"""Whether a window of candles is final: it is over, and nothing of it waits to be taken in.

It is over once a trade of the exchange is there that belongs to a later stored window; a trade that
comes late changes it nevertheless, as it changes the table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pyarrow as pa

from k2_api.reading.asked import Asked
from k2_api.reading.candle_files import Held
from k2_api.reading.candle_set import CandleSet, day_of
from k2_api.reading.current import keys_of

_ANY = ""

# By exchange (or any) and symbol, the starts of the windows whose stored candle does not hold.
_Waiting = Mapping[tuple[str, str], list[int]]


def finals(rows: pa.Table, held: Held, asked: Asked) -> list[bool]:
    """Of each of these candles, whether it is final."""
    over = _over(held, asked)
    across = cast("CandleSet", asked.dataset).consolidated
    least = min((over.get(e, 0) for e in asked.exchanges or over), default=0)
    waiting = _waiting(asked, across=across)
    ends: list[Any] = rows["window_end"].cast(pa.int64()).to_pylist()
    return [
        end <= (least if across else over.get(exchange, 0))
        and not _waits(waiting.get((_ANY if across else exchange, symbol), []), start, end)
        and not _unsettled(asked, start, end)
        for (exchange, symbol, start), end in zip(keys_of(rows), ends, strict=True)
    ]


def final_starts(starts: Sequence[int], held: Held, asked: Asked) -> list[bool]:
    """The same of stored windows of one instrument, none of them replaced."""
    length = cast("CandleSet", asked.dataset).source.micros
    newest = _over(held, asked).get(asked.exchanges[0], 0) - length
    if not asked.newer.unsettled:
        return [start <= newest for start in starts]
    return [start <= newest and not _unsettled(asked, start, start + length) for start in starts]


def _over(held: Held, asked: Asked) -> dict[str, int]:
    """By exchange, when its newest window begins."""
    newest = asked.newer.newest
    return {e: max(held.over(e), newest.get(e, 0)) for e in {*held.exchanges, *newest}}


def _waiting(asked: Asked, *, across: bool) -> _Waiting:
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for exchange, symbol, start in keys_of(asked.newer.keys):
        found[_ANY if across else exchange, symbol].append(start)
    return {key: sorted(starts) for key, starts in found.items()}


def _waits(starts: list[int], start: int, end: int) -> bool:
    """Whether one of the sorted starts lies in [start, end)."""
    return bisect_left(starts, start) < bisect_left(starts, end)


def _unsettled(asked: Asked, start: int, end: int) -> bool:
    return any(day_of(start) <= day <= day_of(end - 1) for day in asked.newer.unsettled)
