"""Messages of a raw topic as columns of RAW_FRAME.

All that is done per message in Python is to call its accessors (1.4 us together, two thirds of it
for the header); everything else is done on columns.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from confluent_kafka import Message

from k2_feeds.kafka.frame import HEADER_KEY, decode_headers
from k2_market.columns import filled
from k2_market.errors import LogError
from k2_market.records import INSTANT, RAW_FRAME

# The epoch of a frame is known to the table alone.
FRAME_SCHEMA = pa.schema([field for field in RAW_FRAME.schema if field.name != "epoch"])


def frame_columns(topic: str, messages: Sequence[Message]) -> pa.Table:
    """The messages, all without error, in order. Raises MalformedHeader, LogError."""

    def where(index: int) -> str:
        message = messages[index]
        return f"{topic}[{message.partition()}] offset {message.offset()}"

    header = decode_headers(_headers(messages), where)
    milliseconds = [time for _, time in map(Message.timestamp, messages)]
    timestamp = pa.array(milliseconds, pa.timestamp("ms", tz="UTC")).cast(INSTANT)
    payload = pa.array(list(map(Message.value, messages)), pa.binary())
    if payload.null_count:
        raise LogError(f"{where(payload.is_null().index(True).as_py())} has no value: no K2 frame.")
    columns: dict[str, pa.Array[Any]] = {
        "kafka_partition": pa.array(list(map(Message.partition, messages)), pa.int32()),
        "kafka_offset": pa.array(list(map(Message.offset, messages)), pa.int64()),
        "kafka_timestamp": timestamp,
        "kafka_topic": pa.repeat(topic, len(messages)),
        "exchange_symbol": _symbols(messages, topic),
        "payload": payload,
        "received_at": header.received_at,
        "connection_id": header.connection_id,
        "sequence": header.sequence,
        "origin": header.origin,
        "ingest_date": timestamp.cast(pa.date32()),
    }
    return filled(columns, FRAME_SCHEMA, len(messages))


def _headers(messages: Sequence[Message]) -> list[bytes]:
    """The ``k2`` header of each message, empty where it has none."""
    try:
        all_headers: Iterable[Any] = map(Message.headers, messages)
        found: list[bytes] = [value for ((key, value),) in all_headers if key == HEADER_KEY]
    except (TypeError, ValueError):  # no header at all, or several, somewhere
        found = []
    if len(found) == len(messages):
        return found
    pairs: list[dict[str, Any]] = [dict(m.headers() or ()) for m in messages]
    return [found_there.get(HEADER_KEY) or b"" for found_there in pairs]


def _symbols(messages: Sequence[Message], topic: str) -> pa.Array[Any]:
    try:
        return pa.array(list(map(Message.key, messages)), pa.binary()).cast(pa.string())
    except pa.ArrowInvalid as error:
        raise LogError(f"a key in {topic} is not text, so not a symbol: {error}.") from error


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without the cyclic garbage collector inside.

    Messages make no cycles, but so many at once make the collector walk through all that lives in
    the process, again and again: reading took four times as long in one that has Dagster loaded.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
