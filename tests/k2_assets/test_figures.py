"""What a run tells of each partition, and that runs of the page and of the sensor agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from k2_assets.ingest import drain
from k2_assets.resources import BROKER_FOLDER, KafkaResource, LakeResource
from k2_assets.tables import asset_key
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_lake.history import head_sequence
from k2_lake.letters import rejected_of_day, rejected_since
from k2_lake.tables import candle_name
from k2_market.errors import BrokerUnavailable
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from tests.frames import DAY0, Print
from tests.graphs import failed, materialized, run_job
from tests.lakes import LakeDriver

MADE_OF_TRADES = {"gold.trades", "gold.gaps", *map(candle_name, TIMEFRAMES)}
TODAY = DAY0.date()
GOOD = [Print(n, n * 1000, "10", "1").binance() for n in range(8)]
NEGATIVE = Print(90, 5000, "-1", "1").binance()
ACK = b'{"result":null,"id":1}'


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with start_broker(tmp_path / BROKER_FOLDER) as running:
        yield running


def produce(broker: EmbeddedBroker, payloads: list[bytes]) -> None:
    with FrameProducer(broker.settings, "binance", Kind.TRADES) as producer:
        for n, payload in enumerate(payloads):
            producer.send(Frame(payload, Print(0, 9_000, "1", "1").received_us, 1, n), None)


def figures(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    [event] = [
        e for e in result.get_asset_materialization_events() if e.asset_key == asset_key(name)
    ]
    assert event.partition is not None
    return {k: v.value for k, v in event.materialization.metadata.items()}


def test_every_partition_tells_rows_snapshot_offsets_lag_and_rejected(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    produce(broker, [*GOOD, NEGATIVE, ACK])
    today = datetime.now(UTC).date()
    result = run_job(tmp_path, "ingest", today)
    assert result.success
    bronze = figures(result, "bronze.binance_trades")
    offsets = bronze["offsets"]
    assert isinstance(offsets, dict)
    assert sum(offsets.values()) == 10
    assert (bronze["rows"], bronze["frames"], bronze["lag"], bronze["epoch"]) == (10, 10, 0, 1)
    silver = figures(result, "silver.binance_trades")
    counted = {k: silver[k] for k in ("frames", "trades", "rejected", "control", "other")}
    assert counted == {"frames": 10, "trades": 8, "rejected": 1, "control": 1, "other": 0}
    rejected = figures(result, "silver.rejected")
    assert rejected["reasons"] == {"binance: price_not_positive": 1}
    driver = LakeDriver(tmp_path)
    for name in ("bronze.binance_trades", "silver.binance_trades", "silver.rejected"):
        head = driver.lake.table(name).current_snapshot()
        assert head is not None
        assert figures(result, name)["snapshot_id"] == str(head.snapshot_id)
        assert figures(result, name)["rows"] == figures(result, name)["dagster/partition_row_count"]
    assert figures(result, "bronze.kraken_trades")["snapshot_id"] == "none"
    table = driver.lake.table("silver.rejected")
    reasons = {"binance: price_not_positive": 1}
    assert rejected_of_day(driver.lake, driver.engine, today) == reasons
    assert rejected_since(driver.lake, driver.engine, 0) == reasons
    assert rejected_since(driver.lake, driver.engine, head_sequence(table)) == {}


def test_a_run_of_the_page_computes_the_day_that_ticks_have_made(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    produce(broker, [*GOOD, NEGATIVE])
    today = datetime.now(UTC).date()
    assert run_job(tmp_path, "ingest", today, tick=True).success
    assert run_job(tmp_path, "trade_day", TODAY, tick=True).success
    driver = LakeDriver(tmp_path)
    ticked = driver.everything()
    assert [len(ticked[f"gold.{n}"]) for n in ("trades", "ohlcv_1m", "ohlcv_1d")] == [8, 1, 1]
    anew = run_job(tmp_path, "ingest", today)
    assert (anew.success, failed(anew)) == (True, set())
    anew = run_job(tmp_path, "trade_day", TODAY)
    assert (anew.success, failed(anew)) == (True, set())
    assert figures(anew, "gold.trades")["recomputed"] == 1
    assert figures(anew, "gold.ohlcv_1m")["candles"] == 1
    assert materialized(anew) == MADE_OF_TRADES
    assert driver.everything() == ticked


def test_frames_of_a_new_embedded_broker_are_a_new_epoch(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    epochs = []
    for _ in range(2):
        with start_broker(tmp_path / BROKER_FOLDER) as broker:
            produce(broker, GOOD[:3])
            epochs.append(drain(driver.lake, broker.settings, "binance", Kind.TRADES).epoch)
    rows = driver.rows("bronze.binance_trades")
    assert epochs == [1, 2]
    assert [r["epoch"] for r in rows] == [1, 1, 1, 2, 2, 2]
    driver.tick()
    assert len(driver.rows("silver.binance_trades")) == 6
    assert len(driver.rows("gold.trades")) == 3


def test_resources_are_of_the_home_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_HOME", str(tmp_path / "from-environment"))
    assert LakeResource().settings().home == tmp_path / "from-environment"
    assert LakeResource(home=str(tmp_path)).settings().home == tmp_path
    with pytest.raises(BrokerUnavailable, match=f"none is running for {tmp_path}"):
        KafkaResource(home=str(tmp_path)).settings()
    monkeypatch.setenv("K2_KAFKA_BOOTSTRAP", "kafka:9092")
    settings = KafkaResource(home=str(tmp_path)).settings()
    assert (settings.bootstrap, settings.embedded) == ("kafka:9092", False)
