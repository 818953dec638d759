"""Gold at a snapshot and the frames from its seam on are everything produced, each row once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.bronze import Position, append_frames, begin_epoch, position
from k2_lake.gold import merge, pending_days
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import expire
from k2_lake.silver import refine, refine_day
from k2_lake.tables import TRADES_TABLE, bronze_name, silver_name
from k2_lake.travel.as_of import AsOf
from k2_lake.travel.rollback import roll_back
from k2_lake.travel.seam import Seam, seam
from k2_market.errors import HistoryGone, OffsetBeyondEnd
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, Print, bronze_rows, frame_table
from tests.lakes import CLUSTER, LakeDriver, parser

DAY = 86_400_000
EXCHANGES = ("binance", "binance_usdm")
ACKNOWLEDGED = b'{"result":null,"id":1}'


class Market:
    """A topic of two partitions for each exchange, and the tables made from it."""

    def __init__(self, home: Path) -> None:
        self.driver = LakeDriver(home)
        self.lake, self.engine = self.driver.lake, self.driver.engine
        self.log: dict[str, list[list[bytes]]] = {e: [[], []] for e in EXCHANGES}
        self.number = 0

    def produce(self, exchange: str, partition: int, day: int) -> None:
        self.number += 1
        trade = Print(self.number, day * DAY + self.number, "10", "1")
        self.log[exchange][partition].append(trade.binance())

    def repeat(self, exchange: str, partition: int, back: int) -> None:
        frames = self.log[exchange][partition]
        if frames:
            frames.append(frames[-1 - back % len(frames)])

    def acknowledge(self, exchange: str, partition: int) -> None:
        self.log[exchange][partition].append(ACKNOWLEDGED)

    def bronze(self, exchange: str, limit: int) -> None:
        table = self.lake.table(bronze_name(exchange, Kind.TRADES))
        at = position(table) or Position(1, CLUSTER)
        parts = [self._read(exchange, p, at.offsets.get(p, 0), limit) for p in (0, 1)]
        frames = pa.concat_tables(parts)
        if frames.num_rows:
            ends = {p: at.offsets.get(p, 0) + part.num_rows for p, part in enumerate(parts)}
            append_frames(table, at, frames, ends)

    def silver(self, exchange: str) -> None:
        refine(self.lake, self.engine, exchange, Kind.TRADES, parser(exchange))

    def gold(self, which: int) -> None:
        days = sorted(pending_days(self.lake, Kind.TRADES))
        if days:
            merge(self.lake, self.engine, Kind.TRADES, days[which % len(days)])

    def again(self, exchange: str) -> None:
        arrived = ARRIVAL.date()
        if self.lake.table(bronze_name(exchange, Kind.TRADES)).current_snapshot() is not None:
            refine_day(self.lake, self.engine, exchange, Kind.TRADES, parser(exchange), arrived)

    def compact(self) -> None:
        for name in (TRADES_TABLE, *(n for e in EXCHANGES for n in _names(e))):
            list(compact(self.lake, self.engine, name))

    def roll_back(self, name: str, back: int) -> None:
        table = self.lake.table(name)
        kept = sorted(table.metadata.snapshots, key=lambda s: s.sequence_number or 0)
        if kept:
            to = AsOf.parse(str(kept[-1 - back % len(kept)].snapshot_id))
            roll_back(self.lake, self.engine, name, to, lambda plan: None)

    def seam(self, exchange: str) -> Seam:
        gold = self.lake.table(TRADES_TABLE)
        return seam(gold, *(self.lake.table(n) for n in _names(exchange)))

    def joined(self, exchange: str) -> tuple[list[str], set[str]]:
        """The ids that gold has, and those of the frames from the seam on."""
        held = [
            str(r["trade_id"]) for r in self.driver.rows(TRADES_TABLE) if r["exchange"] == exchange
        ]
        start = self.seam(exchange).start("topic", CLUSTER, "", new_cluster_is_expected=False)
        frames = pa.concat_tables([self._read(exchange, p, start.get(p, 0), 1_000) for p in (0, 1)])
        rows = parser(exchange)(bronze_rows(frames)).rows
        return held, set(rows["trade_id"].to_pylist())

    def produced(self, exchange: str) -> set[str]:
        parts = [self._read(exchange, p, 0, 1_000) for p in (0, 1)]
        rows = parser(exchange)(bronze_rows(pa.concat_tables(parts))).rows
        return set(rows["trade_id"].to_pylist())

    def _read(self, exchange: str, partition: int, start: int, limit: int) -> pa.Table:
        payloads = self.log[exchange][partition][start : start + limit]
        received = [
            (payload, 1_723_300_000_000_000 + start + n) for n, payload in enumerate(payloads)
        ]
        return frame_table(received, start, exchange=exchange, partition=partition)


def _names(exchange: str) -> tuple[str, str]:
    return silver_name(exchange, Kind.TRADES), bronze_name(exchange, Kind.TRADES)


exchanges, partitions = st.sampled_from(EXCHANGES), st.integers(0, 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("produce"), exchanges, partitions, st.integers(0, 2)),
        st.tuples(st.just("produce"), exchanges, partitions, st.integers(0, 2)),
        st.tuples(st.just("repeat"), exchanges, partitions, st.integers(0, 3)),
        st.tuples(st.just("acknowledge"), exchanges, partitions),
        st.tuples(st.just("bronze"), exchanges, st.integers(1, 4)),
        st.tuples(st.just("bronze"), exchanges, st.integers(1, 4)),
        st.tuples(st.just("silver"), exchanges),
        st.tuples(st.just("silver"), exchanges),
        st.tuples(st.just("gold"), st.integers(0, 2)),
        st.tuples(st.just("gold"), st.integers(0, 2)),
        st.tuples(st.just("again"), exchanges),
        st.tuples(st.just("compact")),
    ),
    min_size=4,
    max_size=24,
)


def _whole(market: Market) -> None:
    for exchange in EXCHANGES:
        held, behind = market.joined(exchange)
        assert len(held) == len(set(held))
        assert set(held) | behind == market.produced(exchange)


@pytest.mark.timeout(300)
@settings(max_examples=6, deadline=None)
@given(steps)
def test_gold_and_the_frames_from_the_seam_on_are_everything_produced(
    taken: Sequence[tuple[object, ...]],
) -> None:
    with TemporaryDirectory() as home:
        market = Market(Path(home))
        for name, *arguments in taken:
            getattr(market, str(name))(*arguments)
        _whole(market)


def _followed(market: Market, exchange: str = "binance") -> None:
    market.bronze(exchange, 1_000)
    market.silver(exchange)
    for _ in range(3):
        market.gold(0)


@pytest.fixture
def market(tmp_path: Path) -> Market:
    made = Market(tmp_path)
    for partition in (0, 1, 0):
        made.produce("binance", partition, 0)
    return made


def test_gold_that_has_everything_ends_where_bronze_ends(market: Market) -> None:
    assert market.seam("binance") == Seam(None, frozenset())
    _followed(market)
    at = market.seam("binance").at
    assert at is not None
    assert at.offsets == {0: 2, 1: 1}


def test_frames_without_rows_move_the_seam_though_gold_commits_nothing(market: Market) -> None:
    _followed(market)
    market.acknowledge("binance", 0)
    market.bronze("binance", 10)
    market.silver("binance")
    at = market.seam("binance").at
    assert at is not None
    assert at.offsets == {0: 3, 1: 1}


def test_days_that_run_ahead_do_not_move_the_seam_over_others(market: Market) -> None:
    _followed(market)
    market.produce("binance", 0, 0)
    market.bronze("binance", 10)
    market.silver("binance")
    market.produce("binance", 0, 1)
    market.bronze("binance", 10)
    market.silver("binance")
    market.gold(1)
    _whole(market)
    at = market.seam("binance").at
    assert at is not None
    assert at.offsets[0] == 2


def test_a_rollback_of_gold_or_silver_moves_the_seam_back(market: Market) -> None:
    _followed(market)
    market.produce("binance", 0, 0)
    _followed(market)
    market.roll_back(TRADES_TABLE, 1)
    at = market.seam("binance").at
    assert at is not None
    assert at.offsets == {0: 2, 1: 1}
    _whole(market)
    market.gold(0)
    market.roll_back(silver_name("binance", Kind.TRADES), 1)
    _whole(market)
    market.gold(0)
    _whole(market)


def test_a_place_whose_snapshots_have_expired_is_not_guessed(market: Market) -> None:
    market.bronze("binance", 1)
    market.bronze("binance", 1)
    market.silver("binance")
    expire(market.lake, bronze_name("binance", Kind.TRADES), keep=1, young=timedelta(0))
    with pytest.raises(HistoryGone):
        market.seam("binance")
    market.gold(0)
    _whole(market)


def test_another_life_of_the_topic_begins_once_gold_has_all_of_the_last(market: Market) -> None:
    market.bronze("binance", 1_000)
    with pytest.raises(OffsetBeyondEnd, match="yet to take in"):
        market.seam("binance").start("t", "other", "", new_cluster_is_expected=True)
    _followed(market)
    whole = market.seam("binance")
    assert whole.start("t", "other", "", new_cluster_is_expected=True) == {}
    assert whole.epoch_of("other", "") == 2
    with pytest.raises(OffsetBeyondEnd, match="new-epoch"):
        whole.start("t", "other", "", new_cluster_is_expected=False)


def test_an_epoch_that_was_begun_by_command_is_the_seam_without_a_row(market: Market) -> None:
    _followed(market)
    bronze = market.lake.table(bronze_name("binance", Kind.TRADES))
    begin_epoch(bronze, "t", "other", {0: 7, 1: 9}, "id")
    begun = market.seam("binance")
    assert begun.start("t", "other", "id", new_cluster_is_expected=False) == {0: 7, 1: 9}
    assert begun.epoch_of("other", "id") == 2
