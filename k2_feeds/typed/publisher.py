"""Raw topics to typed ones: the records that the parser finds, in Avro, for consumers outside K2.

Read by offset and parsed as silver is, so a typed topic holds what silver would. Frames that cannot
be read and rows that break a rule are not published; silver.rejected has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.reader import FrameBatch, TopicReader
from k2_feeds.kafka.topics import raw_topic, typed_topic
from k2_feeds.parsing.frames import parse
from k2_feeds.typed.outlet import GROUP, Places, outlet
from k2_feeds.typed.registry import Registry
from k2_feeds.typed.rows import AvroRows
from k2_market.avro import published_record
from k2_market.errors import OffsetHole, TopicMissing
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME

FRAMES_AT_ONCE = 5_000
_GO_ON = (
    "For the typed topic, `k2 publish --begin earliest` goes on with all frames that Kafka keeps, "
    "`--begin latest` with new ones alone."
)
_NO_EPOCH = 0  # bronze's count of a topic's lives; it is not published


class Begin(StrEnum):
    """Where to begin if there is no place to go on from."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True)
class Published:
    """What one step did: frames read, records published, rows and frames rejected."""

    frames: int = 0
    records: int = 0
    rejected: int = 0

    def __add__(self, other: Published) -> Published:
        return Published(
            self.frames + other.frames,
            self.records + other.records,
            self.rejected + other.rejected,
        )


class Publisher:
    """Publishes one kind of records of one exchange; a step at a time.

    To make one registers the schema, before anything else: raises SchemaRefused, RegistryError,
    TopicMissing, LogError. ``places`` is shared by all publishers of a process. ``begin`` None:
    where there is no place to go on from, stop and say so.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        registry: Registry,
        places: Places,
        exchange: str,
        kind: Kind,
        begin: Begin | None = None,
    ) -> None:
        self.exchange, self.kind = exchange, kind
        self.raw, self.typed = raw_topic(kind, exchange), typed_topic(kind, exchange)
        schema = published_record(kind.record)
        self._rows = AvroRows(schema, registry.register(self.typed, schema))
        self._begin = begin
        self._is_new = _is_empty(settings, self.typed)
        self._places, self._at = places, dict[int, int]()
        self._outlet = outlet(settings, places, self.raw, self.typed)
        self._reader = TopicReader(settings, self.raw)

    def step(self, limit: int = FRAMES_AT_ONCE) -> Published | None:
        """Publish at most ``limit`` frames; None if there was none.

        Raises LogError, OffsetHole where frames are gone or no place to go on from is recorded.
        """
        ends = self._reader.watermarks()
        if not self._at.keys() >= ends.keys():
            self._move_to(self._places_of(ends) | self._at)
        batch = self._read(ends, limit)
        if batch is None:
            return None
        parsed = parse(self.exchange, self.kind, _with_epoch(batch.table))
        keys = parsed.rows["exchange_symbol"].to_pylist()
        values = self._rows.encode(parsed.rows)
        self._outlet.write(zip(keys, values, strict=True), batch.next_offsets)
        self._at = batch.next_offsets
        return Published(batch.table.num_rows, parsed.rows.num_rows, parsed.rejected.num_rows)

    def close(self) -> None:
        """Leave Kafka; what was not yet committed is as if it had not been read."""
        self._reader.close()

    def _read(self, ends: Mapping[int, tuple[int, int]], limit: int) -> FrameBatch | None:
        upto = {partition: high for partition, (_, high) in ends.items()}
        try:
            return self._reader.read(self._at, upto, limit)
        except OffsetHole as error:
            if self._begin is None:
                raise OffsetHole(f"{error} {_GO_ON}") from error
        places = starting_places(self.raw, self._at, ends, self._begin, is_new=False)
        earliest = self._begin is Begin.EARLIEST
        self._move_to(self._reader.next_frames(places) if earliest else upto)
        return self._reader.read(self._at, upto, limit)

    def _move_to(self, places: dict[int, int]) -> None:
        """Go on there, and record it before anything is published from there."""
        self._outlet.write((), places)
        self._at = places

    def _places_of(self, ends: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        committed = self._places.committed(self.raw, ends)
        return starting_places(self.raw, committed, ends, self._begin, is_new=self._is_new)


def starting_places(
    topic: str,
    committed: Mapping[int, int],
    ends: Mapping[int, tuple[int, int]],
    begin: Begin | None,
    *,
    is_new: bool,
) -> dict[int, int]:
    """Where to go on in each partition of a raw topic.

    ``committed`` are the recorded places, ``ends`` the first offset kept and the next one to be
    written. A partition without a place begins at its first frame if the typed topic ``is_new`` or
    other partitions have one (it was added since). Raises OffsetHole for a place that Kafka no
    longer has, unless ``begin`` says where to begin then.
    """
    places = {}
    for partition, (low, high) in ends.items():
        place = committed.get(partition, low if is_new or committed else None)
        if place is not None and low <= place <= high:
            places[partition] = place
        elif begin is None:
            raise OffsetHole(_no_place(topic, partition, place, low, high))
        else:
            places[partition] = low if begin is Begin.EARLIEST else high
    return places


def _no_place(topic: str, partition: int, place: int | None, low: int, high: int) -> str:
    found = (
        f"the typed topic has records, but Kafka's group {GROUP} records no place"
        if place is None
        else f"published up to offset {place}"
    )
    return (
        f"{topic}[{partition}]: {found}; Kafka now keeps offsets {low} to {high}. Frames are lost "
        f"to the typed topic, or it was recreated. {_GO_ON}"
    )


def _is_empty(settings: KafkaSettings, topic: str) -> bool:
    with TopicReader(settings, topic) as reader:
        ends = reader.watermarks()
    if not ends and not settings.embedded:
        raise TopicMissing(
            f"the typed topic {topic} does not exist at {settings.bootstrap}. Make it with "
            "`k2 topics create --typed`."
        )
    return all(high == 0 for _, high in ends.values())


def _with_epoch(frames: pa.Table) -> pa.Table:
    epoch = pa.repeat(pa.scalar(_NO_EPOCH, pa.int32()), frames.num_rows)
    return frames.append_column("epoch", epoch).select(RAW_FRAME.columns)
