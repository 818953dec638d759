"""Dead letters are found by what they are."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from k2_lake.letters import Wanted, batches, counts, newest
from k2_lake.read_sql import existing_table
from k2_lake.silver import refine
from k2_lake.tables import REJECTED_TABLE
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, Print, frame_table
from tests.lakes import LakeDriver, parser

DAY = ARRIVAL.date()
BROKEN = b'{"stream":"btcusdt@trade","data":{"e":"trade"'


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> LakeDriver:
    """Two broken frames of Binance on one day and a negative price on the next; one of Kraken."""
    found = LakeDriver(tmp_path_factory.mktemp("lake"))
    negative = Print(1, 0, "-5", "1").binance()
    for exchange, payloads, days in (
        ("binance", [(BROKEN, 1), (b"{}", 2)], 0),
        ("binance", [(negative, 4_000_000_000_000_000)], 1),
        ("kraken", [(b"", 3)], 0),
    ):
        offset = found.next_offset(exchange)
        arrived = ARRIVAL + timedelta(days=days)
        frames = frame_table(payloads, offset, exchange=exchange, arrived=arrived)
        found.receive_frames(frames, exchange)
        refine(found.lake, found.engine, exchange, Kind.TRADES, parser(exchange))
    return found


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (Wanted(), [("binance", 2), ("kraken", 0), ("binance", 1), ("binance", 0)]),
        (Wanted(exchange="kraken"), [("kraken", 0)]),
        (Wanted(kind="quotes"), []),
        (Wanted(reason="malformed_json"), [("kraken", 0), ("binance", 0)]),
        (Wanted(first_day=DAY + timedelta(days=1)), [("binance", 2)]),
        (Wanted(last_day=DAY), [("kraken", 0), ("binance", 1), ("binance", 0)]),
        (Wanted(text="FOUND '-5"), [("binance", 2)]),
        (Wanted(text="100%"), []),
        (Wanted(exchange="binance", epoch=1, kafka_partition=0, kafka_offset=1), [("binance", 1)]),
        (Wanted(kafka_offset=1, frame_index=0), []),
        (Wanted(frame_index=0), [("binance", 2)]),
        (Wanted(epoch=2), []),
    ],
)
def test_letters_meet_every_condition_and_come_newest_first(
    driver: LakeDriver, wanted: Wanted, places: list[tuple[str, int]]
) -> None:
    found = newest(driver.lake, driver.engine, wanted, 10).to_pylist()
    assert [(r["exchange"], r["kafka_offset"]) for r in found] == places
    assert newest(driver.lake, driver.engine, wanted, 1).num_rows == min(1, len(places))


def test_letters_are_counted_by_reason_with_the_days_they_arrived_on(driver: LakeDriver) -> None:
    found = counts(driver.lake, driver.engine, Wanted())
    assert [tuple(r.values()) for r in found.to_pylist()] == [
        ("binance", "trades", "malformed_json", 1, DAY, DAY),
        ("binance", "trades", "price_not_positive", 1, *[DAY + timedelta(days=1)] * 2),
        ("binance", "trades", "unknown_frame", 1, DAY, DAY),
        ("kraken", "trades", "malformed_json", 1, DAY, DAY),
    ]


def test_batches_are_of_one_exchange_and_day_and_no_larger_than_told(driver: LakeDriver) -> None:
    found = [
        (b.exchange, b.kind, b.day, b.places["kafka_offset"].to_pylist())
        for b in batches(driver.lake, driver.engine, Wanted(), 1)
    ]
    later = date.fromordinal(DAY.toordinal() + 1)
    assert found == [
        ("binance", "trades", DAY, [0]),
        ("binance", "trades", DAY, [1]),
        ("kraken", "trades", DAY, [0]),
        ("binance", "trades", later, [2]),
    ]


def test_a_lake_in_which_nothing_was_rejected_is_not_written_to(tmp_path: Path) -> None:
    lake = LakeDriver(tmp_path)
    assert newest(lake.lake, lake.engine, Wanted(), 5).num_rows == 0
    assert counts(lake.lake, lake.engine, Wanted()).num_rows == 0
    assert list(batches(lake.lake, lake.engine, Wanted(), 5)) == []
    assert existing_table(lake.lake, REJECTED_TABLE) is None
