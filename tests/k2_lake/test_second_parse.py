"""Letters parsed again: what a corrected parser reads moves to silver once, whatever is killed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_feeds.parsing.frames import Parsed
from k2_lake import second_parse
from k2_lake.commit import commit as real_commit
from k2_lake.gold import merge, pending_days
from k2_lake.history import head_sequence
from k2_lake.letters import Wanted
from k2_lake.parsed import Parse
from k2_lake.second_parse import Replayed, replay
from k2_lake.silver import refine
from k2_lake.tables import REJECTED_TABLE, TABLES, name_of
from k2_market.kinds import Kind
from k2_market.records import REJECTED
from tests.frames import ARRIVAL, DAY0, Print, frame_table
from tests.lakes import LakeDriver, parser

DAY = 86_400_000
PRINTS = [Print(n, n * 7_200_000, f"{100 + n}", "0.5", n % 2 == 0) for n in range(24)]
BROKEN = b'{"stream":"btcusdt@trade","data":{"e":"trade"'


def kraken(*trade_ids: int) -> bytes:
    """One frame with these trades, three hours apart by their ids."""
    rows = ",".join(
        f'{{"symbol":"BTC/USD","side":"buy","price":{100 + n}.5,"qty":0.25,"ord_type":"limit",'
        f'"trade_id":{n},"timestamp":"{(DAY0 + timedelta(hours=3 * n)).isoformat()}"}}'
        for n in trade_ids
    )
    return b'{"channel":"trade","type":"update","data":[%s]}' % rows.encode()


def refusing(right: Parse, trade_ids: Collection[int]) -> Parse:
    """A parser that does not know what these trades are."""

    def parse(frames: pa.Table) -> Parsed:
        found: Any = right(frames)
        payloads = dict(
            zip(frames["kafka_offset"].to_pylist(), frames["payload"].to_pylist(), strict=True)
        )
        ids = map(int, found.rows["trade_id"].to_pylist())
        is_bad: Any = pa.array([n in trade_ids for n in ids], pa.bool_())
        told = [
            {
                **{name: row[name] for name in REJECTED.columns if name in row},
                "kind": "trades",
                "reason": "not_known_yet",
                "detail": f"trade {row['trade_id']}",
                "received_at": row["ingestion_timestamp"],
                "payload": payloads[row["kafka_offset"]],
            }
            for row in found.rows.filter(is_bad).to_pylist()
        ]
        rejected = pa.concat_tables(
            [found.rejected, pa.Table.from_pylist(told, schema=REJECTED.schema)]
        )
        rows = found.rows.filter(pc.invert(is_bad))
        return Parsed(rows, rejected, found.control, found.other)

    return parse


def tick(driver: LakeDriver, parse: Parse, exchange: str = "binance") -> None:
    refine(driver.lake, driver.engine, exchange, Kind.TRADES, parse)
    to_gold(driver)


def to_gold(driver: LakeDriver) -> None:
    for day in sorted(pending_days(driver.lake, Kind.TRADES)):
        merge(driver.lake, driver.engine, Kind.TRADES, day)
        driver.candles(day)


def again(
    driver: LakeDriver, wanted: Wanted | None = None, parse: Callable[..., Parse] = parser
) -> Replayed:
    """All that one replay did."""
    done = replay(driver.lake, driver.engine, wanted or Wanted(), parse)
    return sum(done.values(), Replayed())


def heads(driver: LakeDriver) -> dict[str, int]:
    return {name: head_sequence(driver.lake.table(name)) for name in TABLES}


def days_of(prints: Sequence[Print]) -> list[date]:
    return sorted({(DAY0 + timedelta(milliseconds=p.at_ms)).date() for p in prints})


@pytest.fixture
def right(tmp_path: Path) -> LakeDriver:
    """The lake of a parser that was right from the start."""
    driver = LakeDriver(tmp_path / "right")
    driver.receive(PRINTS)
    tick(driver, parser())
    return driver


@pytest.fixture
def wrong(tmp_path: Path) -> LakeDriver:
    """The lake of a parser that refused every third trade."""
    driver = LakeDriver(tmp_path / "wrong")
    driver.receive(PRINTS)
    tick(driver, refusing(parser(), range(0, 24, 3)))
    return driver


@pytest.mark.any_storage
def test_a_corrected_parser_moves_the_rows_once_and_everything_is_as_if_it_had_always_been_right(
    wrong: LakeDriver, right: LakeDriver
) -> None:
    assert len(wrong.rows(REJECTED_TABLE)) == 8
    done = again(wrong)
    assert (done.frames, done.rows, done.letters, done.still) == (8, 8, 8, 0)
    assert sorted(done.days) == days_of(PRINTS[::3])
    to_gold(wrong)
    assert wrong.everything() == right.everything()
    before = heads(wrong)
    assert again(wrong) == Replayed()
    assert heads(wrong) == before
    wrong.recompute(days_of(PRINTS))
    assert wrong.everything() == right.everything()


@pytest.mark.parametrize("table", ["silver.binance_trades", REJECTED_TABLE])
def test_a_replay_killed_before_either_commit_is_made_up_for_by_the_next(
    wrong: LakeDriver, right: LakeDriver, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    class Killed(Exception):
        """What stands for the end of the process."""

    def commit(to: Any, **what: Any) -> object:
        if name_of(to) == table:
            raise Killed
        return real_commit(to, **what)

    with monkeypatch.context() as patched:
        patched.setattr(second_parse, "commit", commit)
        with pytest.raises(Killed):
            again(wrong)
    assert len(wrong.rows(REJECTED_TABLE)) == 8
    to_gold(wrong)
    wrong.receive([Print(24, 24 * 7_200_000, "100", "1")])
    tick(wrong, refusing(parser(), [24]))
    done = again(wrong)
    assert (done.letters, done.still) == (9, 0)
    assert done.rows == (9 if table != REJECTED_TABLE else 1)
    to_gold(wrong)
    right.receive([Print(24, 24 * 7_200_000, "100", "1")])
    tick(right, parser())
    assert wrong.everything() == right.everything()


def test_only_what_was_asked_for_is_tried_and_what_is_still_refused_stays_with_its_new_reason(
    wrong: LakeDriver,
) -> None:
    assert again(wrong, Wanted(text="trade 21")).rows == 1
    assert again(wrong, Wanted(kafka_offset=18)).rows == 1
    assert again(wrong, Wanted(reason="bad_time")) == Replayed()
    assert again(wrong, Wanted(exchange="kraken")) == Replayed()
    assert again(wrong, Wanted(first_day=ARRIVAL.date() + timedelta(days=1))) == Replayed()

    def better(exchange: str, kind: Kind) -> Parse:
        return refusing(parser(exchange, kind), [0, 3])

    done = again(wrong, Wanted(exchange="binance", kind="trades"), better)
    assert (done.rows, done.letters, done.still) == (4, 6, 2)
    assert [r["kafka_offset"] for r in wrong.rows(REJECTED_TABLE)] == [0, 3]
    before = heads(wrong)
    assert (again(wrong, parse=better).still, heads(wrong)) == (2, before)


def test_rows_of_a_frame_that_were_good_stay_and_those_read_differently_now_are_replaced(
    tmp_path: Path,
) -> None:
    wrong, right = LakeDriver(tmp_path / "wrong"), LakeDriver(tmp_path / "right")
    frames = frame_table([(kraken(1, 2, 3), 1_800_000_000_000_000)], exchange="kraken")
    for driver in (wrong, right):
        driver.receive_frames(frames, "kraken")
    tick(right, parser("kraken"), "kraken")

    def mistaken(frames: pa.Table) -> Parsed:
        found: Any = refusing(parser("kraken"), [2])(frames)
        prices = pa.array([Decimal(7)] * found.rows.num_rows, found.rows["price"].type)
        at = found.rows.schema.get_field_index("price")
        rows = found.rows.set_column(at, found.rows.schema.field("price"), prices)
        return Parsed(rows, found.rejected, found.control, found.other)

    tick(wrong, mistaken, "kraken")
    assert [r["price"] for r in wrong.rows("gold.trades")] == [7, 7]
    assert again(wrong).rows == 1
    to_gold(wrong)
    assert wrong.everything() == right.everything()


def test_frames_that_silver_has_not_taken_yet_are_left_to_its_next_tick(
    wrong: LakeDriver, right: LakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick was killed after it noted its rejected rows and before it committed its trades."""
    more = [Print(n, n * 7_200_000, "100", "1") for n in (24, 25)]

    def commit(to: Any, **what: Any) -> object:
        if name_of(to) == "silver.binance_trades":
            raise KeyboardInterrupt
        return real_commit(to, **what)

    wrong.receive(more)
    with monkeypatch.context() as patched:
        patched.setattr("k2_lake.silver.commit", commit)
        with pytest.raises(KeyboardInterrupt):
            tick(wrong, refusing(parser(), [24]))
    done = again(wrong)
    assert (done.frames, done.rows) == (8, 8)
    assert [r["kafka_offset"] for r in wrong.rows(REJECTED_TABLE)] == [24]
    tick(wrong, refusing(parser(), [24]))
    assert again(wrong).rows == 1
    to_gold(wrong)
    right.receive(more)
    tick(right, parser())
    assert wrong.everything() == right.everything()


def test_letters_are_tried_a_commit_at_a_time(
    wrong: LakeDriver, right: LakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_parse, "FRAMES_PER_COMMIT", 3)
    before = head_sequence(wrong.lake.table(REJECTED_TABLE))
    assert again(wrong).rows == 8
    assert head_sequence(wrong.lake.table(REJECTED_TABLE)) == before + 3
    to_gold(wrong)
    assert wrong.everything() == right.everything()


batch = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True), max_size=4)


@pytest.mark.timeout(300)
@settings(max_examples=6, deadline=None)
@given(
    arrivals=st.lists(st.tuples(batch, st.sets(st.integers(1, 12))), min_size=1, max_size=3),
    replays=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_whenever_letters_are_tried_again_the_end_is_that_of_the_right_parser(
    arrivals: list[tuple[list[list[int]], set[int]]], replays: list[bool]
) -> None:
    with TemporaryDirectory() as home:
        wrong, right = LakeDriver(Path(home) / "wrong"), LakeDriver(Path(home) / "right")
        for (frames, unknown), replayed in zip(arrivals, replays, strict=False):
            payloads = [(kraken(*ids), 1_800_000_000_000_000) for ids in frames] + [(BROKEN, 0)]
            for driver, parse in (
                (wrong, refusing(parser("kraken"), unknown)),
                (right, parser("kraken")),
            ):
                offset = driver.next_offset("kraken")
                driver.receive_frames(frame_table(payloads, offset, exchange="kraken"), "kraken")
                tick(driver, parse, "kraken")
            if replayed:
                again(wrong)
        again(wrong)
        to_gold(wrong)
        assert wrong.everything() == right.everything()
