"""Whatever maintenance does in between, rows and what consumers make of them stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.candles import build_candles
from k2_lake.gold import merge, pending_days
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import expire
from k2_lake.maintenance.garbage import reached, sweep
from k2_lake.quality.gaps import find_gaps
from k2_lake.quality.gaps import pending_days as gaps_pending
from k2_lake.silver import refine, refine_day
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, DAY0, Print
from tests.lakes import LakeDriver, parser

NOW = timedelta(0)
DAY = DAY0.date()
COMPARED = (
    "bronze.binance_trades",
    "silver.binance_trades",
    "silver.rejected",
    "gold.trades",
    "gold.gaps",
    "gold.ohlcv_1m",
)

tables = st.sampled_from(COMPARED)
prints = st.lists(
    st.builds(
        Print,
        trade_id=st.integers(1, 12),
        at_ms=st.sampled_from([0, 59_999, 60_000, 86_400_000]),
        price=st.sampled_from(["10", "11", "no price"]),
        quantity=st.just("0.5"),
        received_ms=st.integers(0, 3),
    ),
    min_size=1,
    max_size=3,
)
work = st.one_of(
    st.tuples(st.just("receive"), prints),
    st.tuples(st.sampled_from(["refine", "merge", "candles", "recompute"]), st.none()),
)
upkeep = st.tuples(st.sampled_from(["compact", "expire", "sweep"]), tables)
Step = tuple[str, object]


@pytest.mark.timeout(300)
@settings(max_examples=8, deadline=None)
@given(st.lists(st.one_of(work, upkeep, upkeep), min_size=4, max_size=12), prints)
def test_rows_are_those_of_a_lake_without_maintenance(
    steps: list[Step], first: list[Print]
) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        kept, plain = LakeDriver(Path(one)), LakeDriver(Path(other))
        started = [("receive", first), ("refine", None)]
        for driver, its in ((kept, steps), (plain, [s for s in steps if s[0] in WORK])):
            for what, detail in [*started, *its, *FINISH]:
                DO[what](driver, detail)
        assert rows(kept) == rows(plain)
        for name in COMPARED:
            table = kept.lake.table(name)
            if table.current_snapshot() is not None:
                sweep(kept.lake, name, grace=NOW)
                assert all(table.io.new_input(p).exists() for p in reached(table))
        assert rows(kept) == rows(plain)


def rows(driver: LakeDriver) -> dict[str, list[dict[str, object]]]:
    return {name: driver.rows(name) for name in COMPARED}


def _receive(driver: LakeDriver, detail: object) -> None:
    assert isinstance(detail, list)
    driver.receive(detail)


def _refine(driver: LakeDriver, detail: object) -> None:
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())


def _merge(driver: LakeDriver, detail: object) -> None:
    for day in sorted(pending_days(driver.lake, Kind.TRADES)):
        merge(driver.lake, driver.engine, Kind.TRADES, day)


def _candles(driver: LakeDriver, detail: object) -> None:
    for day in sorted(gaps_pending(driver.lake)):
        build_candles(driver.lake, driver.engine, "1m", day)
        find_gaps(driver.lake, driver.engine, day)


def _recompute(driver: LakeDriver, detail: object) -> None:
    refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), ARRIVAL.date())
    merge(driver.lake, driver.engine, Kind.TRADES, DAY, recompute=True)


def _compact(driver: LakeDriver, table: object) -> None:
    list(compact(driver.lake, driver.engine, str(table), quiet=NOW, worth_it=2))


def _expire(driver: LakeDriver, table: object) -> None:
    expire(driver.lake, str(table), keep=1, young=NOW)


def _sweep(driver: LakeDriver, table: object) -> None:
    sweep(driver.lake, str(table), grace=NOW)


WORK = {
    "receive": _receive,
    "refine": _refine,
    "merge": _merge,
    "candles": _candles,
    "recompute": _recompute,
}
DO = {**WORK, "compact": _compact, "expire": _expire, "sweep": _sweep}
FINISH: Sequence[Step] = [("refine", None), ("merge", None), ("candles", None)]
