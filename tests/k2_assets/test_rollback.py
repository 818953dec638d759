"""Bronze goes back, Kafka gives the frames again, and nothing tells that there was an accident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from k2_assets.ingest import drain
from k2_assets.resources import BROKER_FOLDER
from k2_assets.rollback import require_in_kafka
from k2_cli.lake import Format
from k2_cli.lake_travel import rollback
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.kafka.reader import TopicReader
from k2_lake.commit import commit
from k2_lake.history import Mode, head_sequence
from k2_lake.scan import planned
from k2_lake.tables import TRADES_TABLE
from k2_lake.travel.as_of import AsOf
from k2_lake.travel.rollback import plan_rollback
from k2_lake.travel.tags import set_tag
from k2_market.errors import UsageError
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME
from tests.frames import DAY0, Print
from tests.graphs import failed, run_job
from tests.lakes import LakeDriver

BRONZE = "bronze.binance_trades"
MIDNIGHT = 86_400_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with start_broker(tmp_path / "struck" / BROKER_FOLDER) as running:
        yield running


def produce(broker: EmbeddedBroker, numbers: range) -> None:
    """Trades on both sides of a midnight, and one frame in five that is broken."""
    with FrameProducer(broker.settings, "binance", Kind.TRADES) as producer:
        for n in numbers:
            made = Print(n, MIDNIGHT - 3_000 + n * 500, f"1{n}", "0.5")
            payload = b"{" if n % 5 == 0 else made.binance()
            producer.send(Frame(payload, made.received_us, 1, n), f"S{n % 3}")


def open_gaps(rows: list[dict[str, object]]) -> list[object]:
    return [row["first_missing_id"] for row in rows if row["state"] == "open"]


def tick(driver: LakeDriver, broker: EmbeddedBroker) -> None:
    drain(driver.lake, broker.settings, "binance", Kind.TRADES)
    driver.tick()


@pytest.mark.parametrize("lost", [0, -1], ids=["the newest file", "the oldest file"])
def test_the_lake_after_a_rollback_of_bronze_equals_one_that_had_no_accident(
    tmp_path: Path, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str], lost: int
) -> None:
    struck, spared = LakeDriver(tmp_path / "struck"), LakeDriver(tmp_path / "spared")
    produce(broker, range(1, 8))
    for driver in (struck, spared):
        tick(driver, broker)
    set_tag(struck.lake, "good", [BRONZE])
    produce(broker, range(8, 13))
    tick(struck, broker)
    bronze = struck.lake.table(BRONZE)
    old = planned(bronze, RAW_FRAME.schema).files
    commit(bronze, remove=[old[lost]], mode=Mode.RECOMPUTE, days=[datetime.now(UTC).date()])
    struck.tick()
    assert len(struck.rows(TRADES_TABLE)) < 10

    before = head_sequence(struck.lake.table(BRONZE))
    rollback(BRONZE, "good", True, tmp_path / "struck")
    assert "Nothing was changed" in capsys.readouterr().out
    assert head_sequence(struck.lake.table(BRONZE)) == before
    rollback(BRONZE, "good", False, tmp_path / "struck", Format.JSON)
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == 5
    assert [(d["added"], d["removed"]) for d in told["days"]] == ([(7, 5)] if lost else [])
    assert told["followed_by"] == ["silver.binance_trades", "silver.rejected"]

    produce(broker, range(13, 15))
    for driver in (struck, spared):
        tick(driver, broker)
    assert len(spared.rows(BRONZE)) == 14
    mended, sound = struck.everything(), spared.everything()
    # The ledger of gaps is a history: what was missing for a while stays on record as repaired.
    gaps, those = mended.pop("gold.gaps"), sound.pop("gold.gaps")
    assert open_gaps(gaps) == open_gaps(those) == [5, 10]
    assert mended == sound
    runs = (("ingest", datetime.now(UTC).date()), ("trade_day", DAY0.date()))
    for job, day in runs if lost else ():
        result = run_job(tmp_path / "struck", job, day)
        # The trades of the broken frames are missing by right.
        assert (result.success, failed(result) - {"gold.gaps nothing_missing"}) == (True, set())


def test_frames_that_kafka_no_longer_has_are_not_let_go(
    tmp_path: Path, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = LakeDriver(tmp_path / "struck")
    produce(broker, range(1, 8))
    tick(driver, broker)
    set_tag(driver.lake, "good", [BRONZE])
    produce(broker, range(8, 13))
    tick(driver, broker)
    plan = plan_rollback(driver.lake, driver.engine, BRONZE, AsOf.parse("good"))
    assert plan.reread is not None
    with pytest.raises(UsageError, match=r"5 frames of market.*raw would have to .*no broker is"):
        require_in_kafka(None, plan)
    require_in_kafka(broker.settings, plan)
    real = TopicReader.watermarks

    def cut(reader: TopicReader) -> dict[int, tuple[int, int]]:
        return {p: (high, high) for p, (_, high) in real(reader).items()}

    monkeypatch.setattr(TopicReader, "watermarks", cut)
    with pytest.raises(UsageError, match=r"but Kafka keeps only \[\d\] \d+ to \d+.*nothing was"):
        rollback(BRONZE, "good", False, tmp_path / "struck")
    monkeypatch.setattr(TopicReader, "watermarks", real)
    monkeypatch.setattr(TopicReader, "cluster_id", lambda _: "another")
    with pytest.raises(UsageError, match=r"they were of the cluster .*, 'another' serves"):
        require_in_kafka(broker.settings, plan)
    assert len(driver.rows(BRONZE)) == 12
