"""Frames per second of every stage, from one topic that all of them read, and of bare consuming.

Every round reads the same topic bare and into a new lake, so that they are compared under the same
load of the machine. Bare consuming is measured twice: as any loop does it, and with the garbage
collector off, which is the limit: messages make the collector walk through the whole process.
"""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from benchmarks.figures import Figure, Progress, Watch
from benchmarks.market import EXCHANGE, Market
from k2_assets.ingest import drain
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.parsing.frames import parse
from k2_lake.candles import build_candles
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.gold import merge
from k2_lake.silver import refine
from k2_lake.tables import TABLES
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES

TOPIC = raw_topic(Kind.TRADES, EXCHANGE)
# Measured: larger requests are slower, their objects leave the processor's cache.
AT_ONCE = 10_000
SHARE = 0.4

STAGES = {
    "bronze": "Kafka to bronze",
    "silver": "bronze to silver",
    "gold": "silver to gold",
    "candles": "gold to five timeframes",
}


def measure(
    market: Market, folder: Path, *, frames: int, rounds: int, tell: Progress
) -> list[Figure]:
    """Bare consuming, each stage and the whole chain: ``rounds`` times ``frames`` frames."""
    with start_broker(folder / "broker") as broker:
        tell(f"producing {frames:,} frames")
        produce(broker.settings, market, 0, frames)
        _require_all_kept(broker.settings, frames)
        watches = []
        for number in range(rounds):
            tell(f"chain, round {number + 1} of {rounds}")
            watch = Watch()
            _round(market, folder / f"lake-{number}", broker.settings, frames, watch)
            watches.append(watch)
    return _figures(watches, frames)


def produce(kafka: KafkaSettings, market: Market, first: int, count: int) -> None:
    """The frames of these trades into the raw topic, acknowledged."""
    with FrameProducer(kafka, EXCHANGE, Kind.TRADES) as producer:
        producer.send_many(market.frames(first, count))
    # A client is part of a cycle: until it is collected its threads take time from what follows.
    del producer
    gc.collect()


def new_lake(home: Path) -> Lake:
    """A lake with all its tables, empty."""
    lake = Lake(LakeSettings.from_environment({}, home))
    for name in TABLES:
        lake.table(name)
    return lake


def _round(market: Market, home: Path, kafka: KafkaSettings, frames: int, watch: Watch) -> None:
    lake, engine = new_lake(home), DuckDBEngine()
    with watch("consume"):
        consume_all(kafka)
    with watch("limit"):
        gc.disable()
        consume_all(kafka)
        gc.enable()
    with watch("bronze"):
        # A drain leaves what is small beside what it took to the next one.
        while drain(lake, kafka, EXCHANGE, Kind.TRADES).lag:
            pass
    with watch("silver"):
        refine(lake, engine, EXCHANGE, Kind.TRADES, partial(parse, EXCHANGE, Kind.TRADES))
    with watch("gold"):
        merged = merge(lake, engine, Kind.TRADES, market.day)
    with watch("candles"):
        for name in TIMEFRAMES:
            build_candles(lake, engine, name, market.day)
    if merged.figures["added"] != frames:
        raise InvariantBroken(
            f"{frames} frames were produced, gold added {merged.figures['added']}"
        )


def consume_all(kafka: KafkaSettings) -> int:
    """What any reader of the topic must do at least: take every message off the client."""
    with TopicReader(kafka, TOPIC) as reader:
        ends = {p: high for p, (_, high) in reader.watermarks().items()}
    left = sum(ends.values())
    consumer = Consumer(
        kafka.client(
            group_id="k2-benchmark",
            enable_auto_commit=False,
            queued_min_messages=200_000,
            queued_max_messages_kbytes=131_072,
            max_partition_fetch_bytes=8_388_608,
            fetch_wait_max_ms=20,
        )
    )
    consumer.assign([TopicPartition(TOPIC, p, 0) for p in ends])
    while left:
        left -= len(consumer.consume(min(left, AT_ONCE), 15.0))
    consumer.close()
    return sum(ends.values())


def _require_all_kept(kafka: KafkaSettings, frames: int) -> None:
    with TopicReader(kafka, TOPIC) as reader:
        found = reader.watermarks()
    if any(low for low, _ in found.values()) or sum(high for _, high in found.values()) != frames:
        raise InvariantBroken(
            f"the broker keeps {found} of {frames} frames: choose fewer, it holds 5 MB a partition."
        )


def _figures(watches: list[Watch], frames: int) -> list[Figure]:
    def rate(*names: str) -> list[float]:
        return [frames / w.total(*names) for w in watches]

    def share(bare: str) -> list[float]:
        return [w.total(bare) / w.total("bronze") for w in watches]

    return [
        Figure("bare consume()", "frames/s", rate("consume")),
        Figure("the same, garbage collector off", "frames/s", rate("limit")),
        Figure(STAGES["bronze"], "frames/s", rate("bronze"), at_least=100_000),
        Figure("bronze / bare consume()", "ratio", share("consume"), at_least=SHARE),
        Figure("bronze / consume(), collector off", "ratio", share("limit"), at_least=SHARE),
        *(Figure(STAGES[s], "frames/s", rate(s)) for s in ("silver", "gold", "candles")),
        Figure("whole chain", "trades/s", rate(*STAGES), at_least=40_000),
    ]
