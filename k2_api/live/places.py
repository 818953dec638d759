"""Where a row stands in a raw topic, and how far a reader is in it.

Rows are streamed in the order of Kafka, for that is the order in which they came: a late trade has
an early time, but a later place than all that was sent before it. So a position tells exactly what
a reader has had.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

# Epoch, partition, offset and the index within the frame.
Place = tuple[int, int, int, int]
# The same without the partition.
Reached = tuple[int, int, int]

PLACE = ("epoch", "kafka_partition", "kafka_offset", "frame_index")
NOWHERE: Reached = (-1, -1, -1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Behind all rows of a frame: no frame has so many.
END_OF_FRAME = 2**31 - 1


class Position:
    """By partition the last place that was passed; one not named has been passed nowhere."""

    def __init__(self, reached: Mapping[int, Reached] | None = None) -> None:
        self._reached = dict(reached or {})

    @property
    def reached(self) -> dict[int, Reached]:
        """By partition, the last place passed."""
        return dict(self._reached)

    def passed(self, place: Place) -> bool:
        """Whether the place is at the position or before it."""
        epoch, partition, offset, index = place
        return (epoch, offset, index) <= self._reached.get(partition, NOWHERE)

    def covers(self, other: Position) -> bool:
        """Whether all that ``other`` has passed is passed."""
        return all(
            reached <= self._reached.get(partition, NOWHERE)
            for partition, reached in other._reached.items()
        )

    def moved(self, *places: Place) -> Position:
        """The position that has passed these places as well."""
        return self.joined(Position(_furthest(places)))

    def joined(self, other: Position) -> Position:
        """The position that has passed what either has."""
        both = dict(self._reached)
        for partition, reached in other._reached.items():
            both[partition] = max(reached, both.get(partition, NOWHERE))
        return Position(both)


def _furthest(places: tuple[Place, ...]) -> dict[int, Reached]:
    furthest: dict[int, Reached] = {}
    for epoch, partition, offset, index in places:
        furthest[partition] = max((epoch, offset, index), furthest.get(partition, NOWHERE))
    return furthest


def to_micros(at: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The instant, in UTC. Raises OverflowError for one that no calendar has."""
    return _EPOCH + timedelta(microseconds=micros)
