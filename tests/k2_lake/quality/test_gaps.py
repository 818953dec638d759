"""Gaps: what is open is what is missing, however it was looked at; the frames tell why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.quality.gap_ledger import Gap, Hole, State, settle
from k2_lake.quality.gaps import find_gaps, give_up, pending_days, recorded_gaps
from k2_lake.tables import GAPS_TABLE
from tests.frames import DAY0, Print, frame_table, trade_days
from tests.lakes import LakeDriver

DAY = 86_400_000
T0 = datetime(2024, 8, 8, tzinfo=UTC)


def _print(number: int, symbol: str = "BTCUSDT", **more: int) -> Print:
    """A trade each half hour: the neighbours of most are farther away than any disorder."""
    return Print(number, number * 1_800_000, "10", "1", symbol=symbol, **more)


def _ranges(driver: LakeDriver, state: str, symbol: str = "BTC-USDT") -> list[tuple[int, int]]:
    return [
        (g.first_missing_id, g.last_missing_id)
        for g in recorded_gaps(driver.lake, driver.engine)
        if (g.state, g.symbol) == (state, symbol)
    ]


def _missing(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """By brute force: the stretches of numbers that are not there between the first and last."""
    there = sorted(set(numbers))
    return [(a + 1, b - 1) for a, b in pairwise(there) if b > a + 1]


@pytest.mark.timeout(300)
@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.integers(1, 120), max_size=10), min_size=1, max_size=4))
def test_what_is_open_is_what_is_missing_after_every_tick_and_after_a_recompute(
    batches: list[list[int]],
) -> None:
    with TemporaryDirectory() as home:
        driver = LakeDriver(Path(home))
        arrived: list[int] = []
        for batch in batches:
            driver.receive([_print(n) for n in batch])
            driver.tick()
            arrived += batch
            assert _ranges(driver, "open") == _missing(arrived)
        ticked = driver.rows(GAPS_TABLE)
        driver.recompute(sorted(trade_days(_print(n) for n in arrived)))
        assert driver.rows(GAPS_TABLE) == ticked
        assert pending_days(driver.lake) == {}


def _gap(first: int, last: int, state: str = "open") -> Gap:
    return Gap("binance", "BTC-USDT", first, last, T0, T0, "disconnect", state, T0)


def _hole(first: int, last: int) -> Hole:
    later = T0 + timedelta(hours=1)
    return Hole(
        **{**vars(_gap(first, last)), "cause": "unknown", "detected_at": later},
        before=(1, 0, 0),
        after=(1, 0, 1),
        received=(T0, later),
    )


ids = st.sets(st.integers(0, 40))


def _runs(numbers: set[int]) -> list[tuple[int, int]]:
    ordered = sorted(numbers)
    starts = [n for n in ordered if n - 1 not in numbers]
    return [(a, next(b for b in ordered if b >= a and b + 1 not in numbers)) for a in starts]


@given(ids, ids)
def test_every_id_that_was_missing_is_either_open_or_repaired_and_once(
    was: set[int], now: set[int]
) -> None:
    recorded = [_gap(*run) for run in _runs(was)]
    kept, new = settle(recorded, [_hole(*run) for run in _runs(now)], lambda a, b: T0)
    covered = [
        (n, gap.state)
        for gap in [*kept, *new]
        for n in range(gap.first_missing_id, gap.last_missing_id + 1)
    ]
    assert sorted(covered) == sorted(
        [(n, "open") for n in now] + [(n, "repaired") for n in was - now]
    )


def test_a_piece_of_a_gap_keeps_its_cause_its_state_and_when_it_was_found() -> None:
    whole = _gap(10, 20).given_up("the exchange has none")
    kept, new = settle([whole], [_hole(10, 12), _hole(18, 20)], lambda a, b: T0)
    assert new == []
    left, right, filled = kept
    assert (left.missing, right.missing, filled.missing) == (3, 3, 5)
    for piece in (left, right):
        assert (piece.cause, piece.state, piece.reason, piece.detected_at) == (
            "disconnect",
            "unrepairable",
            "the exchange has none",
            T0,
        )
    assert (filled.state, filled.reason, filled.repaired_at) == ("repaired", None, T0)


def test_a_gap_whose_neighbour_was_taken_back_stands_until_it_is_between_trades_again() -> None:
    whole = _gap(10, 20)
    kept, new = settle([whole], [], lambda a, b: None)
    assert (kept, new) == ([whole], [])
    kept, new = settle(kept, [_hole(10, 12)], lambda a, b: T0)
    assert [(g.first_missing_id, g.last_missing_id, g.state) for g in kept] == [
        (10, 12, "open"),
        (13, 20, "repaired"),
    ]
    assert new == []


@dataclass(frozen=True)
class Came:
    """A frame with how it came; ``received_ms`` counts from DAY0."""

    print: Print
    connection: int
    sequence: int
    origin: str = "live"
    payload: bytes | None = None


def _receive(driver: LakeDriver, frames: Sequence[Came]) -> None:
    table = frame_table(
        [(f.payload or f.print.binance(), f.print.received_us) for f in frames],
        driver.next_offset(),
    )
    told = {
        "connection_id": pa.array([f.connection for f in frames], pa.int64()),
        "sequence": pa.array([f.sequence for f in frames], pa.int64()),
        "origin": pa.array([f.origin for f in frames], pa.string()),
    }
    for name, column in told.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), column)
    driver.receive_frames(table)
    driver.tick()


def _near(number: int, symbol: str = "BTCUSDT", received_ms: int | None = None) -> Print:
    return Print(number, number * 100, "10", "1", symbol=symbol, received_ms=received_ms)


CAUSES = {
    # One connection ended, and the next began after it.
    "disconnect": [Came(_near(1), 7, 0), Came(_near(5), 8, 0)],
    # The next one was heard before the last of the old one, and yet a trade is missing.
    "rotation": [
        Came(_near(1), 7, 0),
        Came(_near(50, "ETHUSDT", 150), 8, 0),
        Came(_near(51, "ETHUSDT", 300), 7, 1),
        Came(_near(5), 8, 1),
    ],
    # Every frame of the connection between the two is there, of other symbols.
    "exchange": [
        Came(_near(1), 7, 0),
        Came(_near(50, "ETHUSDT", 200), 7, 1),
        Came(_near(51, "ETHUSDT", 300), 7, 2),
        Came(_near(5), 7, 3),
    ],
    # A frame was handed over and is not in bronze.
    "loss": [
        Came(_near(1), 7, 0),
        Came(_near(50, "ETHUSDT", 200), 7, 1),
        Came(_near(5), 7, 3),
    ],
    # Nobody listened between a file and what came live.
    "unrecorded": [Came(_near(1), 7, 0, "replay"), Came(_near(5), 8, 0)],
}


@pytest.mark.parametrize("cause", CAUSES)
def test_the_frames_of_the_neighbours_tell_the_cause(tmp_path: Path, cause: str) -> None:
    driver = LakeDriver(tmp_path)
    _receive(driver, CAUSES[cause])
    [gap] = [g for g in recorded_gaps(driver.lake, driver.engine) if g.symbol == "BTC-USDT"]
    assert (gap.first_missing_id, gap.last_missing_id, gap.missing) == (2, 4, 3)
    assert (gap.cause, gap.state) == (cause, "open")
    assert (gap.before_at, gap.after_at) == (
        DAY0 + timedelta(milliseconds=100),
        DAY0 + timedelta(milliseconds=500),
    )


def test_a_frame_that_came_and_could_not_be_read_is_a_loss_on_our_side(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    broken = replace(_near(2), received_ms=200)
    _receive(
        driver,
        [Came(_near(1), 7, 0), Came(broken, 7, 1, payload=b'{"stream":"btc'), Came(_near(3), 7, 2)],
    )
    [gap] = recorded_gaps(driver.lake, driver.engine)
    assert (gap.first_missing_id, gap.last_missing_id, gap.cause) == (2, 2, "loss")


def test_a_gap_across_midnight_belongs_to_the_day_of_the_trade_before(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, DAY - 1000, "10", "1"), Print(4, DAY + 1000, "10", "1")])
    driver.tick()
    [gap] = recorded_gaps(driver.lake, driver.engine)
    assert (gap.first_missing_id, gap.last_missing_id) == (2, 3)
    assert gap.gap_date == DAY0.date()
    driver.receive([Print(2, DAY - 500, "10", "1"), Print(3, DAY + 500, "10", "1")])
    driver.tick()
    assert _ranges(driver, "open") == []
    assert sum(g.missing for g in recorded_gaps(driver.lake, driver.engine)) == 2


def test_what_was_given_up_stays_given_up_until_it_comes_after_all(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([_near(1), _near(5)])
    driver.tick()
    [gap] = recorded_gaps(driver.lake, driver.engine)
    assert give_up(driver.lake, driver.engine, {gap: "too old"}) == 1
    assert give_up(driver.lake, driver.engine, {gap: "too old"}) == 0
    driver.receive([_near(6)])
    driver.tick()
    find_gaps(driver.lake, driver.engine, DAY0.date(), recompute=True)
    assert [(g.state, g.reason) for g in recorded_gaps(driver.lake, driver.engine)] == [
        ("unrepairable", "too old")
    ]
    driver.receive([_near(2), _near(3), _near(4)])
    driver.tick()
    [after] = recorded_gaps(driver.lake, driver.engine)
    assert (after.state, after.reason) == (State.REPAIRED, None)
    assert after.repaired_at is not None


def test_ids_of_an_exchange_that_counts_all_pairs_together_tell_nothing(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    frames = [
        b'{"data":{"id":%d,"timestamp":"1723075200","amount":1,"amount_str":"1","price":10,'
        b'"price_str":"10","type":0,"microtimestamp":"1723075200000000","buy_order_id":1,'
        b'"sell_order_id":2},"channel":"live_trades_btcusd","event":"trade"}' % number
        for number in (1, 9)
    ]
    driver.receive_frames(
        frame_table([(f, 1_723_075_201_000_000) for f in frames], exchange="bitstamp"), "bitstamp"
    )
    driver.tick(["bitstamp"])
    assert len(driver.rows("gold.trades")) == 2
    assert driver.rows(GAPS_TABLE) == []
