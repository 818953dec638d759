"""Rows made ready to be sent: repeats left out, each made into text.

The tail gives each key once, but it does not remember for ever what a table has by now: exchanges
repeat their newest trades when a connection begins, and these may be hours old.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_api.live.history import History
from k2_api.live.places import END_OF_FRAME, PLACE, Place, Position
from k2_api.live.topic import Arrived
from k2_market.kinds import Kind


class Preparing:
    """For one thread at a time."""

    def __init__(self, history: History) -> None:
        self._history = history
        # By kind, exchange and symbol: a row with a higher sequence is surely new.
        self._highest: dict[tuple[Kind, str, str], int] = {}

    def prepare(
        self,
        kind: Kind,
        exchange: str,
        rows: pa.Table,
        wanted: frozenset[str],
        position: Position,
    ) -> Arrived:
        """Those of the rows that are wanted and no repeats. Raises LakeUnavailable."""
        after = Position(_ends(rows))
        mine = rows.filter(
            pc.is_in(rows["symbol"], value_set=pa.array(sorted(wanted), pa.string()))
        )
        if mine.num_rows:
            mine = self._without_repeats(kind, exchange, mine, position)
        texts = self._history.texts(kind, mine) if mine.num_rows else []
        return Arrived(texts, wanted, after)

    def _without_repeats(
        self, kind: Kind, exchange: str, rows: pa.Table, position: Position
    ) -> pa.Table:
        doubtful = self._doubtful(kind, exchange, rows)
        if not doubtful:
            return rows
        suspects = rows.take(pa.array(doubtful, pa.int64()))
        stored = self._history.stored(kind, suspects)
        repeats = set()
        for index, row in zip(doubtful, suspects.select(_named(kind)).to_pylist(), strict=True):
            own: Any = tuple(row[c] for c in PLACE)
            found: Place | None = stored.get((row["symbol"], row[kind.identifier]))
            if found is not None and found != own and position.passed(found):
                repeats.add(index)
        kept = [n for n in range(rows.num_rows) if n not in repeats]
        return rows.take(pa.array(kept, pa.int64()))

    def _doubtful(self, kind: Kind, exchange: str, rows: pa.Table) -> list[int]:
        """The rows that need not be new by their sequence."""
        found = []
        symbols: list[Any] = rows["symbol"].to_pylist()
        sequences: list[Any] = rows["source_sequence"].to_pylist()
        for index, (symbol, sequence) in enumerate(zip(symbols, sequences, strict=True)):
            highest = self._highest_of(kind, exchange, symbol)
            if sequence > highest:
                self._highest[kind, exchange, symbol] = sequence
            else:
                found.append(index)
        return found

    def _highest_of(self, kind: Kind, exchange: str, symbol: str) -> int:
        known = self._highest.get((kind, exchange, symbol))
        if known is None:
            known = self._history.highest(kind, exchange, symbol)
            self._highest[kind, exchange, symbol] = known
        return known


def _named(kind: Kind) -> list[str]:
    return ["symbol", kind.identifier, *PLACE]


def _ends(rows: pa.Table) -> dict[int, tuple[int, int, int]]:
    """By partition, behind the last frame."""
    ends = rows.group_by(["epoch", "kafka_partition"]).aggregate([("kafka_offset", "max")])
    found: dict[int, tuple[int, int, int]] = {}
    for end in ends.sort_by("epoch").to_pylist():
        found[end["kafka_partition"]] = (end["epoch"], end["kafka_offset_max"], END_OF_FRAME)
    return found
