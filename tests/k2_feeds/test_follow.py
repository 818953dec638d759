"""Topics followed as they grow, over the embedded broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.follow import Batch, TopicsFollower
from k2_feeds.kafka.frame import Frame, MalformedHeader
from k2_feeds.kafka.producer import FrameProducer
from k2_market.errors import OffsetBeyondEnd
from k2_market.kinds import Kind
from tests.services import wait_until


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with start_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


def produced(broker: EmbeddedBroker, payloads: list[bytes]) -> str:
    """The topic of its own that they are in, in one partition."""
    with FrameProducer(broker.settings, uuid.uuid4().hex, Kind.TRADES) as producer:
        for n, payload in enumerate(payloads):
            producer.send(Frame(payload, 1_723_161_255_000_000 + n, 1, n), "BTCUSDT")
        producer.flush()
    return producer.topic


def taken(follower: TopicsFollower, topics: list[str]) -> list[Batch]:
    """What comes until all that there is has been given."""
    found: list[Batch] = []

    def all_there() -> bool:
        found.extend(follower.take(0.1))
        return all(follower.reached(topic) is not None for topic in topics)

    wait_until(all_there, "the end of the topics")
    return found


def follow(follower: TopicsFollower, topic: str, first: int = 0) -> int:
    _, partitions = follower.cluster([topic]).topics[topic]
    return follower.follow(topic, partitions, dict.fromkeys(partitions, first))


def test_every_frame_of_every_topic_is_given_once_as_it_comes(broker: EmbeddedBroker) -> None:
    one, other = produced(broker, [b"1", b"2"]), produced(broker, [b"3"])
    with TopicsFollower(broker.settings) as follower:
        assert follow(follower, one) == 2
        assert follow(follower, other) == 1
        batches = taken(follower, [one, other])
    found = [
        (batch.topic, payload)
        for batch in batches
        for payload in batch.frames["payload"].to_pylist()
    ]
    assert sorted(found) == sorted([(one, b"1"), (one, b"2"), (other, b"3")])


def test_a_topic_that_is_not_there_is_left_out(broker: EmbeddedBroker) -> None:
    topic = produced(broker, [b"1"])
    with TopicsFollower(broker.settings) as follower:
        found = follower.cluster([topic, "market.crypto.trades.nowhere.raw"])
    assert list(found.topics) == [topic]


def test_an_offset_that_never_was_is_refused(broker: EmbeddedBroker) -> None:
    topic = produced(broker, [b"1"])
    with TopicsFollower(broker.settings) as follower, pytest.raises(OffsetBeyondEnd):
        follow(follower, topic, 7)


def test_a_message_that_is_no_frame_lets_go_of_its_topic_alone(broker: EmbeddedBroker) -> None:
    topic, other = produced(broker, [b"1"]), produced(broker, [b"2"])
    with TopicsFollower(broker.settings) as follower:
        follow(follower, topic)
        follow(follower, other)
        taken(follower, [topic, other])
        foreign = Producer(broker.settings.client())
        foreign.produce(topic, b"no frame")
        foreign.flush()
        troubles: list[Batch] = []

        def told() -> bool:
            troubles.extend(b for b in follower.take(0.1) if b.trouble is not None)
            return bool(troubles)

        wait_until(told, "the trouble")
        assert [b.topic for b in troubles] == [topic]
        assert isinstance(troubles[0].trouble, MalformedHeader)
        assert follower.reached(topic) is None
        assert follower.reached(other) is not None
