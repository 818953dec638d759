"""Live feeds in tests: waiting for what they do, and what Kafka then holds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pyarrow as pa

from k2_feeds.adapter import Adapter
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_market.kinds import Kind


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition of counters, which announce nothing; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Work beside the block, cancelled when it is left."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def frames_in(settings: KafkaSettings, exchange: str) -> pa.Table:
    """All raw frames of the exchange's trades."""
    with TopicReader(settings, raw_topic(Kind.TRADES, exchange)) as reader:
        end = {partition: high for partition, (_, high) in reader.watermarks().items()}
        batch = reader.read({}, end, 1_000_000)
    assert batch is not None
    return batch.table


def trade_ids(venue: Adapter, table: pa.Table) -> dict[str, list[int]]:
    """The ids by symbol, in the order of the topic."""
    found: dict[str, list[int]] = defaultdict(list)
    for payload in table["payload"].to_pylist():
        if venue.classify(payload).channel == "trades":
            parser = venue.parsers[Kind.TRADES]
            columns = parser.columns(parser.rows([parser.decode(payload)])[2])
            for name, number in zip(
                columns.exchange_symbol.to_pylist(),
                columns.source_sequence.to_pylist(),
                strict=True,
            ):
                found[name].append(number)
    return found


def sequences(table: pa.Table) -> list[list[int]]:
    """The numbers of each connection's frames, in order."""
    found: dict[int, list[int]] = defaultdict(list)
    for row in table.select(["connection_id", "sequence"]).to_pylist():
        found[row["connection_id"]].append(row["sequence"])
    return [sorted(numbers) for numbers in found.values()]
