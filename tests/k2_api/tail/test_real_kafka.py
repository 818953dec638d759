"""The tail over Apache Kafka: topics have ids, and one that was made anew is another topic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2_api.reading.reader import LakeReader
from k2_api.tail.tail import Tail
from k2_api.tail.view import TailView
from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings
from k2_lake.tables import TRADES_TABLE
from k2_market.kinds import Kind
from tests.k2_api.tail.fed import Fed, trades
from tests.kafka_server import KafkaServer
from tests.services import wait_until

TOPIC = "market.crypto.trades.binance.raw"


@pytest.fixture
def reader(tmp_path: Path, kafka_server: KafkaServer) -> Iterator[LakeReader]:
    kafka_server.delete_topic(TOPIC)
    made = Fed(tmp_path, kafka_server, None)  # type: ignore[arg-type]
    opened = LakeReader(made.drivers[Kind.TRADES].lake.settings)
    made.drivers[Kind.TRADES].lake.table(TRADES_TABLE)
    yield opened
    opened.close()


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_a_topic_that_was_made_anew_is_not_taken_for_the_one_that_the_tables_hold(
    tmp_path: Path, kafka_server: KafkaServer, reader: LakeReader
) -> None:
    market = Fed(tmp_path, kafka_server, None)  # type: ignore[arg-type]
    tail = Tail(reader, lambda: kafka_server.settings)

    def view() -> TailView:
        return tail.view(Kind.TRADES, reader.table(TRADES_TABLE), ["binance"])

    def held(count: int) -> bool:
        found = view()
        return (found.freshness.tail, found.rows().num_rows) == ("live", count)

    TopicsAdmin(kafka_server.settings).create([TOPIC], TopicSettings())
    tail.start()
    try:
        market.produce(trades(1, 5))
        wait_until(lambda: held(5), "the tail of five trades", 60)
        market.tick()
        wait_until(lambda: held(0), "a tail that gave its trades away", 60)
        kafka_server.delete_topic(TOPIC)
        TopicsAdmin(kafka_server.settings).create([TOPIC], TopicSettings())
        market.produce(trades(6, 20))
        wait_until(lambda: "new-epoch" in (view().freshness.detail or ""), "the refusal", 60)
        assert view().rows().num_rows == 0
    finally:
        tail.stop()
