"""A day of bronze is reconciled with Kafka, losing no frame ever, and replaced only if whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from k2_assets.ingest import drain
from k2_assets.past_day import DayMode, put_right
from k2_assets.resources import BROKER_FOLDER
from k2_feeds.kafka.broker import EmbeddedBroker, start_broker
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_lake.bronze import position
from k2_lake.bronze_days import held_day
from k2_lake.commit import commit
from k2_lake.history import Mode
from k2_lake.quality.audit import offsets_contiguous, offsets_recorded
from k2_lake.scan import planned
from k2_lake.scope import Scope
from k2_lake.tables import bronze_name
from k2_market.errors import InvariantBroken, ReplacementRefused
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME
from tests.frames import ARRIVAL, Print, prints_table
from tests.graphs import graph
from tests.lakes import LakeDriver

BRONZE = bronze_name("binance", Kind.TRADES)
PRINTS = [Print(n, n * 60_000, "10", "1") for n in range(8)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with start_broker(tmp_path / BROKER_FOLDER) as running:
        yield running


def today() -> date:
    return datetime.now(UTC).date()


def produce(broker: EmbeddedBroker, payloads: list[bytes]) -> None:
    with FrameProducer(broker.settings, "binance", Kind.TRADES) as producer:
        for n, payload in enumerate(payloads):
            producer.send(Frame(payload, PRINTS[0].received_us, 1, n), "BTCUSDT")


def filled(home: Path, broker: EmbeddedBroker) -> LakeDriver:
    """All that Kafka holds is in bronze and in silver."""
    driver = LakeDriver(home)
    drain(driver.lake, broker.settings, "binance", Kind.TRADES)
    driver.tick()
    return driver


def damage(driver: LakeDriver, rows: pa.Table) -> None:
    """Bronze holds these rows and no others, as no commit of K2 would have left it."""
    table = driver.lake.table(BRONZE)
    old = planned(table, RAW_FRAME.schema).files
    commit(table, add=[rows], remove=old, mode=Mode.MAINTENANCE, days=[])


def rows_of(driver: LakeDriver) -> pa.Table:
    files = planned(driver.lake.table(BRONZE), RAW_FRAME.schema)
    return driver.engine.query("select * from f order by kafka_offset", {"f": files}, files.schema)


def right(
    driver: LakeDriver, broker: EmbeddedBroker, mode: DayMode = DayMode.reconcile
) -> dict[str, int]:
    lake, engine = driver.lake, driver.engine
    return put_right(lake, engine, broker.settings, "binance", Kind.TRADES, today(), mode)


def test_what_is_missing_is_fetched_the_rest_is_verified_and_silver_has_each_frame_once(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    produce(broker, [p.binance() for p in PRINTS])
    driver = filled(tmp_path, broker)
    whole, sound = rows_of(driver), driver.rows("gold.trades")
    assert right(driver, broker) == {"verified": 8, "fetched": 0, "beyond_kafka": 0}
    damage(driver, whole.filter(pa.array([n not in (0, 3, 7) for n in range(8)])))
    at = position(driver.lake.table(BRONZE))
    assert right(driver, broker) == {"verified": 5, "fetched": 3, "beyond_kafka": 0}
    assert rows_of(driver).equals(whole)
    assert position(driver.lake.table(BRONZE)) == at
    driver.tick()
    assert len(driver.rows("silver.binance_trades")) == 8
    assert driver.rows("gold.trades") == sound
    scope = Scope(BRONZE, today(), 1)
    for audit in (offsets_contiguous, offsets_recorded):
        assert audit(driver.lake, driver.engine, scope).agrees
    assert right(driver, broker)["fetched"] == 0


def test_a_frame_with_another_content_is_named_and_a_replacement_puts_it_right(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    produce(broker, [p.binance() for p in PRINTS])
    driver = filled(tmp_path, broker)
    whole = rows_of(driver)
    payloads = whole["payload"].to_pylist()
    payloads[2] = Print(2, 120_000, "999", "1").binance()
    column = whole.schema.get_field_index("payload")
    wrong = pa.array(payloads, pa.binary())
    damage(driver, whole.set_column(column, whole.schema.field(column), wrong))
    partition = whole["kafka_partition"][0].as_py()
    with pytest.raises(InvariantBroken, match=f"1 frames with another content .* {partition}:2"):
        right(driver, broker)
    assert right(driver, broker, DayMode.replace) == {
        "verified": 0,
        "fetched": 8,
        "beyond_kafka": 0,
        "replaced": 8,
    }
    assert rows_of(driver).equals(whole)
    driver.tick()
    assert {r["price"] for r in driver.rows("silver.binance_trades")} == {10}
    assert right(driver, broker)["verified"] == 8


def test_frames_of_a_broker_that_is_gone_stay_and_their_day_cannot_be_replaced(
    tmp_path: Path,
) -> None:
    with start_broker(tmp_path / BROKER_FOLDER) as first:
        produce(first, [p.binance() for p in PRINTS[:5]])
        filled(tmp_path, first)
    with start_broker(tmp_path / BROKER_FOLDER) as second:
        produce(second, [p.binance() for p in PRINTS[5:]])
        driver = filled(tmp_path, second)
        assert right(driver, second) == {"verified": 3, "fetched": 0, "beyond_kafka": 5}
        message = (
            f"{BRONZE} of {today()} cannot be replaced from Kafka: it holds 3 frames of the day "
            "and the table 8; 5 of them are of an earlier life of the topic"
        )
        with pytest.raises(ReplacementRefused, match=message):
            right(driver, second, DayMode.replace)
        assert rows_of(driver).num_rows == 8


def test_a_day_of_which_kafka_has_forgotten_the_beginning_is_not_replaced(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    noise = [b'{"a":"%s"}' % os.urandom(200_000).hex().encode() for _ in range(10)]
    produce(broker, noise)
    driver = filled(tmp_path, broker)
    for _ in range(3):
        produce(broker, noise)
        driver = filled(tmp_path, broker)
    figures = right(driver, broker)
    assert figures["verified"] + figures["beyond_kafka"] == 40
    assert 0 < figures["beyond_kafka"] < 40
    message = rf"Kafka holds partition \d from offset {figures['beyond_kafka']} on, where the day b"
    with pytest.raises(ReplacementRefused, match=message):
        right(driver, broker, DayMode.replace)


def test_the_days_around_tell_how_far_a_day_reaches_that_has_lost_its_edges(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(3):
        frames = prints_table(PRINTS[:4], 4 * n, arrived=ARRIVAL + timedelta(days=n))
        driver.receive_frames(frames)
    table, day = driver.lake.table(BRONZE), (ARRIVAL + timedelta(days=1)).date()
    kept = rows_of(driver).filter(pa.array([n not in (4, 7) for n in range(12)]))
    damage(driver, kept)
    table = driver.lake.table(BRONZE)
    at = position(table)
    assert at is not None
    held = held_day(driver.engine, table, day, at)
    assert (held.frames, held.spans) == (2, {0: (4, 8)})
    first = held_day(driver.engine, table, ARRIVAL.date(), at)
    assert first.spans == {0: (0, 5)}
    before = held_day(driver.engine, table, day - timedelta(days=30), at)
    assert before.spans == {0: (0, 0)}


def test_the_mode_is_chosen_in_the_configuration_of_a_run(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    produce(broker, [p.binance() for p in PRINTS])
    driver = filled(tmp_path, broker)
    damage(driver, rows_of(driver).slice(0, 6))
    asset = dg.AssetKey(["bronze", "binance_trades"])
    job = graph(tmp_path).resolve_implicit_global_asset_job_def()
    told = [
        job.execute_in_process(
            asset_selection=[asset],
            partition_key=today().isoformat(),
            run_config={"ops": {"bronze__binance_trades": {"config": {"mode": mode.name}}}},
        )
        .asset_materializations_for_node("bronze__binance_trades")[0]
        .metadata
        for mode in (DayMode.reconcile, DayMode.replace)
    ]
    assert [m["fetched"].value for m in told] == [2, 8]
    assert [m["rows"].value for m in told] == [8, 8]
