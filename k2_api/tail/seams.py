"""Where the newest snapshots of a table join Kafka, by exchange: watched, and kept for readers."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyiceberg.table import Table

from k2_api.reading.reader import LakeReader
from k2_lake.history import SOURCES, Consumed, carried_value, head_sequence
from k2_lake.retained import Retained, retained
from k2_lake.tables import bronze_name, gold_name, silver_name
from k2_lake.travel.seam import Seam, seam
from k2_market.errors import HistoryGone
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind

_KEPT = 16


@dataclass(frozen=True)
class Joints:
    """One snapshot of gold: by exchange its seam, or why that cannot be told.

    ``through`` is how far it contains each silver table: a snapshot that contains no less of any
    of them joins Kafka no earlier.
    """

    sequence: int
    seams: Mapping[str, Seam | str]
    through: Mapping[str, int]
    retained: Retained


class Seams:
    """The joints of one kind's table, remembered by snapshot. ``look`` is for one thread."""

    def __init__(self, reader: LakeReader, kind: Kind) -> None:
        self._reader, self._kind = reader, kind
        self._known: OrderedDict[int, Joints] = OrderedDict()
        self._location: str | None = None
        self.newest: Joints | None = None

    def look(self) -> Joints:
        """The joints of the table as it is now. Raises LakeUnavailable."""
        gold = self._reader.table(gold_name(self._kind))
        location = None if gold is None else gold.metadata_location
        if self.newest is None or location != self._location:
            self.newest, self._location = self._joints(gold), location
            self._known[self.newest.sequence] = self.newest
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self.newest

    def of(self, gold: Table | None) -> Joints | None:
        """The joints of that state, or of an older one that joins no later; None if not known."""
        newest = self.newest
        sequence = 0 if gold is None else head_sequence(gold)
        known = self._known.get(sequence)
        if known is not None or newest is None or sequence < newest.sequence:
            return known
        now = _through(gold)
        whole = all(now.get(name, 0) >= through for name, through in newest.through.items())
        return newest if whole else None

    def _joints(self, gold: Table | None) -> Joints:
        return Joints(
            sequence=0 if gold is None else head_sequence(gold),
            seams={exchange: self._seam(gold, exchange) for exchange in EXCHANGES},
            through=_through(gold),
            retained=Retained() if gold is None else retained(gold),
        )

    def _seam(self, gold: Table | None, exchange: str) -> Seam | str:
        names = silver_name(exchange, self._kind), bronze_name(exchange, self._kind)
        silver, bronze = (self._reader.table(name) for name in names)
        try:
            return seam(gold, silver, bronze)
        except HistoryGone as error:
            return str(error)


def _through(gold: Table | None) -> dict[str, int]:
    value = None if gold is None else carried_value(gold, SOURCES)
    found: Mapping[str, Any] = {} if value is None else json.loads(value)
    return {name: Consumed.from_json(done).through for name, done in found.items()}
