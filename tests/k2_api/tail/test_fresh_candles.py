"""Stored candles with those that the tail makes anew are the candles of all trades, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_api.reading.current import Newer
from k2_api.reading.reader import LakeReader
from k2_api.tail.candles import FreshCandles
from k2_api.tail.freshness import Standing
from k2_api.tail.tail import Tail
from k2_lake.candles import build_candles, candle_sql
from k2_lake.candles import pending_days as candle_days
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.gold import merge, pending_days
from k2_lake.silver import refine
from k2_lake.tables import candle_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.records import CANDLE
from k2_market.timeframes import TIMEFRAMES
from tests.frames import DAY0, Print, bronze_rows, prints_table
from tests.lakes import CLUSTER, LakeDriver, parser

DAY = 86_400_000


class Market:
    """A log of frames, tables that follow it by steps, and a tail given it from the seam on."""

    def __init__(self, home: Path) -> None:
        self.driver = LakeDriver(home)
        self.lake, self.engine = self.driver.lake, self.driver.engine
        self.driver.candles(datetime(2024, 8, 8, tzinfo=UTC).date())
        self.log: list[Print] = []

    def produce(self, at_ms: int, price: int) -> None:
        number = len(self.log) + 1
        self.log.append(Print(number, at_ms, str(price), "0.5", buyer_is_maker=price % 2 == 0))

    def bronze(self, count: int) -> None:
        start = self.driver.next_offset()
        self.driver.receive(self.log[start : start + count])

    def silver(self) -> None:
        refine(self.lake, self.engine, "binance", Kind.TRADES, parser())

    def gold(self, which: int) -> None:
        days = sorted(pending_days(self.lake, Kind.TRADES))
        if days:
            merge(self.lake, self.engine, Kind.TRADES, days[which % len(days)])

    def candles(self, name: str) -> None:
        for day in sorted(candle_days(self.lake, name)):
            build_candles(self.lake, self.engine, name, day)

    def fresh(self, name: str) -> Newer:
        reader = LakeReader(self.lake.settings)
        tail = Tail(reader, lambda: None)
        self._fill(tail)
        fresh = FreshCandles(reader, tail)
        found = fresh.of(name, reader.table(candle_name(name)))
        reader.close()
        assert fresh.freshness(name).tail == "live"
        return found

    def waiting(self, name: str) -> list[int]:
        """The minutes of the day in which the windows begin that are made anew."""
        starts = self.fresh(name).keys["window_start"].to_pylist()
        return sorted((start - DAY0) // timedelta(minutes=1) for start in starts)

    def joined(self, name: str) -> list[dict[str, object]]:
        """The stored candles with those of the tail in their place."""
        fresh = self.fresh(name)
        stored = pa.Table.from_pylist(self.driver.rows(candle_name(name)), CANDLE.schema)
        kept = stored.select(list(CANDLE.key)).append_column(
            "row", pa.array(range(len(stored)), pa.int64())
        )
        kept = kept.join(fresh.keys, list(CANDLE.key), join_type="left anti")
        rows = pa.concat_tables([stored.take(kept["row"]), fresh.rows])
        return rows.sort_by([(c, "ascending") for c in CANDLE.key]).to_pylist()

    def _fill(self, tail: Tail) -> None:
        seam = tail._seams[Kind.TRADES].look().seams["binance"]
        assert not isinstance(seam, str)
        start = seam.start("topic", CLUSTER, "", new_cluster_is_expected=False).get(0, 0)
        tail._is_off = False
        for exchange in EXCHANGES:
            strand = tail._strands[Kind.TRADES, exchange]
            strand.begin((CLUSTER, ""), 1, {0: start} if exchange == "binance" else {})
            strand.stand(Standing(None, datetime.now(UTC)))
        frames = bronze_rows(prints_table(self.log[start:], start))
        tail._strands[Kind.TRADES, "binance"].add(parser()(frames).rows)


def brute(log: Sequence[Print], name: str) -> list[dict[str, object]]:
    """The candles made of all trades, timeframe after timeframe."""
    engine, made = DuckDBEngine(), parser()(bronze_rows(prints_table(log))).rows
    for frame in TIMEFRAMES.values():
        source = "trades" if frame.source is None else "candles"
        made = engine.query(candle_sql(frame), {source: made}, CANDLE.schema)
        if frame.name == name:
            break
    return made.to_pylist()  # type: ignore[no-any-return]


times = st.sampled_from([0, 30_000, 59_999, 60_000, 290_000, 300_000, 3_600_000, DAY - 1, DAY])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("produce"), times, st.integers(1, 9)),
        st.tuples(st.just("produce"), times, st.integers(1, 9)),
        st.tuples(st.just("bronze"), st.integers(1, 4)),
        st.tuples(st.just("silver")),
        st.tuples(st.just("gold"), st.integers(0, 1)),
        st.tuples(st.just("gold"), st.integers(0, 1)),
        st.tuples(st.just("candles"), st.sampled_from(list(TIMEFRAMES))),
        st.tuples(st.just("candles"), st.just("1m")),
    ),
    min_size=6,
    max_size=24,
)


@pytest.mark.timeout(300)
@settings(max_examples=3, deadline=None)
@given(steps)
def test_stored_and_fresh_candles_are_those_of_all_trades(
    taken: Sequence[tuple[object, ...]],
) -> None:
    with TemporaryDirectory() as home:
        market = Market(Path(home))
        for name, *arguments in taken:
            getattr(market, str(name))(*arguments)
        for name in ("1m", "5m", "1d"):
            assert market.joined(name) == brute(market.log, name)


def test_only_windows_that_wait_are_made_anew(tmp_path: Path) -> None:
    market = Market(tmp_path)
    for at in (0, 1_000, 60_000, 120_000):
        market.produce(at, 5)
    market.driver.receive(market.log)
    market.driver.tick()
    assert market.waiting("1m") == []
    market.produce(121_000, 7)
    market.produce(180_000, 8)
    assert market.waiting("1m") == [2, 3]
    assert market.waiting("5m") == [0]
    market.bronze(1)
    market.silver()
    market.gold(0)
    assert market.waiting("1m") == [2, 3]
    market.candles("1m")
    assert market.waiting("1m") == [3]
    assert market.waiting("1d") == [0]
    for name in TIMEFRAMES:
        assert market.joined(name) == brute(market.log, name)
