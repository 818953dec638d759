"""Dead letters and the spool: what Kafka has not got stays on disk, whole and in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import encode_header
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.kafka.undelivered import DeadLetters, Spool, Undelivered
from k2_market.errors import BrokerUnavailable, LogError, UsageError
from tests.faulty import filled, small_disk
from tests.services import free_port

TOPIC = raw_topic("trades", "kraken")


def _letter(number: int, key: str | None = "BTC/USD") -> Undelivered:
    header = encode_header(1_700_000_000_000_000 + number, 7, number)
    return Undelivered(TOPIC, key, header, b"frame %d" % number, "MSG_SIZE_TOO_LARGE", number)


@given(key=st.none() | st.text(), payload=st.binary(), reason=st.text())
def test_a_letter_is_read_as_it_was_kept(
    tmp_path_factory: pytest.TempPathFactory, key: str | None, payload: bytes, reason: str
) -> None:
    letters = DeadLetters(tmp_path_factory.mktemp("home"))
    letter = Undelivered(TOPIC, key, b"h", payload, reason, 5)
    assert letters.read(letters.append(letter)) == letter


def test_letters_are_listed_from_the_oldest_and_removed_by_id(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    assert letters.ids() == []
    ids = [letters.append(_letter(n)) for n in (3, 1, 2, 2)]
    assert [letters.read(number).kept_at_us for number in letters.ids()] == [1, 2, 2, 3]
    letters.remove(ids[0])
    letters.remove(ids[0])
    assert len(letters.ids()) == 3
    with pytest.raises(UsageError, match=f"no dead letter '{ids[0]}'.*`k2 dlq list`"):
        letters.read(ids[0])


def test_replayed_letters_are_in_kafka_as_they_were_and_gone_from_disk(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "home")
    ids = [letters.append(_letter(n, key)) for n, key in enumerate(("A", None, "B"))]
    with start_broker(tmp_path / "broker") as broker:
        assert letters.replay(ids[:2], broker.settings) == {}
        with TopicReader(broker.settings, TOPIC) as reader:
            end = {p: high for p, (_, high) in reader.watermarks().items()}
            batch = reader.read({}, end, 10)
    assert batch is not None
    rows = sorted(batch.table.to_pylist(), key=lambda row: row["sequence"])
    assert [(r["payload"], r["exchange_symbol"], r["connection_id"]) for r in rows] == [
        (b"frame 0", "A", 7),
        (b"frame 1", None, 7),
    ]
    assert letters.ids() == ids[2:]


def test_letters_stay_where_kafka_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k2_feeds.kafka.undelivered._REPLAY_WITHIN_S", 1.0)
    letters = DeadLetters(tmp_path)
    ids = [letters.append(_letter(1))]
    with pytest.raises(BrokerUnavailable, match="replaying dead letters"):
        letters.replay(ids, KafkaSettings(f"127.0.0.1:{free_port()}"))
    assert letters.ids() == ids


def test_a_spool_keeps_the_order_of_its_frames_and_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path, TOPIC)
    assert spool.files() == []
    frames = [_letter(n) for n in range(100)]
    files = [spool.write(frames[:60]), spool.write(frames[60:])]
    assert Spool(tmp_path, TOPIC).files() == files
    assert spool.read(files) == frames
    assert Spool(tmp_path, raw_topic("trades", "binance")).files() == []
    files[1].write_bytes(files[1].read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"kept when it stopped, cannot be read.*Move it away"):
        spool.read(files)


def test_a_full_disk_is_told_with_what_it_costs_and_leaves_no_half_a_file(tmp_path: Path) -> None:
    with small_disk(tmp_path, "1m"), filled(tmp_path, 0):
        with pytest.raises(LogError, match=r"spool.*No space left on device\. They are lost"):
            Spool(tmp_path, "t.raw").write([_letter(1)] * 1000)
        with pytest.raises(LogError, match=r"letters.*No space left on device"):
            DeadLetters(tmp_path).append(_letter(2))
        assert not list(tmp_path.rglob("*.frame"))
