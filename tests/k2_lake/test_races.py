"""Two writers of one table at once: one wins, the other builds anew on that, nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from k2_lake import candles, gold, silver
from k2_lake.candles import build_candles
from k2_lake.gold import merge
from k2_lake.history import Mode, change_of, lineage
from k2_lake.maintenance import compaction
from k2_lake.maintenance.compaction import compact
from k2_lake.maintenance.expiry import expire
from k2_lake.quality import gaps
from k2_lake.quality.gaps import find_gaps
from k2_lake.silver import refine, refine_day
from k2_lake.tables import GAPS_TABLE, REJECTED_TABLE, TRADES_TABLE, silver_name
from k2_market.kinds import Kind
from k2_market.maintenance import Deed
from tests.frames import ARRIVAL, DAY0, Print, frame_table
from tests.lakes import LakeDriver, parser
from tests.storage import environment

DAY = 86_400_000
SILVER = silver_name("binance", Kind.TRADES)
WRITTEN = [SILVER, REJECTED_TABLE, TRADES_TABLE, "gold.ohlcv_1m", "gold.ohlcv_5m", GAPS_TABLE]
TODAY = DAY0.date()
BROKEN = b'{"stream":"btcusdt@trade","data":'
# Repeats, one of them received earlier than the first, and a hole in the ids.
PRINTS = [
    Print(n, n * 20_000, str(100 + n % 7), "0.5", n % 2 == 0)
    for n in range(40)
    if n not in (17, 18)
]
REPEATS = [PRINTS[3], Print(5, 100_000, "105", "0.5", False, received_ms=-5)]

Step = Callable[[LakeDriver], object]


def receive(driver: LakeDriver, some: list[Print]) -> None:
    """These and a frame that nobody can read."""
    payloads = [(p.binance(), p.received_us) for p in some] + [(BROKEN, some[0].received_us)]
    driver.receive_frames(frame_table(payloads, driver.next_offset()))


def silver_step(driver: LakeDriver) -> object:
    return refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())


def silver_day_step(driver: LakeDriver) -> object:
    return refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), ARRIVAL.date())


def gold_step(driver: LakeDriver, *, recompute: bool = False) -> object:
    return merge(driver.lake, driver.engine, Kind.TRADES, TODAY, recompute=recompute)


def candle_step(driver: LakeDriver, name: str = "1m", *, recompute: bool = False) -> object:
    return build_candles(driver.lake, driver.engine, name, TODAY, recompute=recompute)


def gap_step(driver: LakeDriver) -> object:
    return find_gaps(driver.lake, driver.engine, TODAY)


def compact_all(driver: LakeDriver) -> list[Deed]:
    later = ARRIVAL.date() + timedelta(days=900)
    return [
        deed
        for name in WRITTEN
        for deed in compact(
            driver.lake, driver.engine, name, today=later, quiet=timedelta(0), worth_it=2
        )
    ]


CHAIN: list[Step] = [silver_step, gold_step, candle_step, partial(candle_step, name="5m"), gap_step]


@pytest.fixture
def raced(tmp_path: Path) -> LakeDriver:
    return begun(tmp_path / "raced")


@pytest.fixture
def alone(tmp_path: Path) -> LakeDriver:
    return begun(tmp_path / "alone")


def begun(home: Path) -> LakeDriver:
    """A day that was ticked once, with more frames in bronze that nobody has parsed."""
    driver = LakeDriver(home)
    receive(driver, PRINTS[:25])
    for step in CHAIN:
        step(driver)
    receive(driver, PRINTS[20:] + REPEATS)
    return driver


def interrupted(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, by: Callable[[], object]
) -> list[str]:
    """Have another writer do its work right before the first commit of this module.

    The list fills with what became of the commits that followed.
    """
    commit: Callable[..., Any] = vars(module)["commit"]
    others: list[str] = []
    ours: list[str] = []

    def late(table: Any, **what: Any) -> Any:
        if others == ["at work"]:
            return commit(table, **what)
        if not others:
            others.append("at work")
            by()
            others[:] = ["done"]
        ours.append("lost")
        done = commit(table, **what)
        ours[-1] = str(what["mode"])
        return done

    monkeypatch.setattr(module, "commit", late)
    return ours


MODULES: list[ModuleType] = [silver, gold, candles, candles, gaps]


def test_a_step_that_is_overtaken_by_the_same_step_builds_anew_and_doubles_nothing(
    alone: LakeDriver, raced: LakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = LakeDriver(raced.lake.settings.home)
    for step, module in zip(CHAIN, MODULES, strict=True):
        with monkeypatch.context() as patched:
            commits = interrupted(patched, module, partial(step, other))
            step(raced)
        step(alone)
        # Once built anew there is nothing left to do.
        assert commits == ["lost"], step
        assert content(raced) == content(alone)


def test_a_recompute_that_is_overtaken_by_a_tick_is_made_anew_of_all_rows(
    alone: LakeDriver, raced: LakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = LakeDriver(raced.lake.settings.home)
    whole: list[Step] = [
        silver_day_step,
        partial(gold_step, recompute=True),
        partial(candle_step, recompute=True),
    ]
    for tick, step, module in zip(CHAIN, whole, MODULES, strict=False):
        with monkeypatch.context() as patched:
            commits = interrupted(patched, module, partial(tick, other))
            step(raced)
        tick(alone)
        assert commits[0] == "lost"
        assert commits[-1] == "recompute"
        assert content(raced) == content(alone)


def test_a_tick_and_a_compaction_that_meet_both_succeed(
    alone: LakeDriver, raced: LakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = LakeDriver(raced.lake.settings.home)
    compacted = 0
    for n, (step, module) in enumerate(zip(CHAIN, MODULES, strict=True)):
        with monkeypatch.context() as patched:
            if n % 2:
                interrupted(patched, compaction, partial(step, other))
                compacted += len(compact_all(raced))
            else:
                interrupted(patched, module, partial(compact_all, other))
            step(raced)
        step(alone)
        assert content(raced) == content(alone)
    assert compacted
    for step in CHAIN:
        step(raced)
    assert content(raced) == content(alone)


def content(driver: LakeDriver) -> dict[str, list[dict[str, object]]]:
    """All rows but when gaps were found."""
    found = {name: driver.rows(name) for name in WRITTEN}
    for gap in found[GAPS_TABLE]:
        gap.pop("found_at", None)
    return found


# Two at once, at whatever moments they meet.

catalogs = pytest.mark.parametrize(
    "catalog", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
ROUNDS = 2


def tick_often(home: Path, env: dict[str, str]) -> int:
    driver = LakeDriver(home, env)
    for _ in range(ROUNDS):
        for step in CHAIN:
            step(driver)
    return ROUNDS


def maintain_often(home: Path, env: dict[str, str]) -> int:
    driver = LakeDriver(home, env)
    for _ in range(ROUNDS):
        compact_all(driver)
        for name in (SILVER, TRADES_TABLE, "gold.ohlcv_1m"):
            expire(driver.lake, name, keep=3, young=timedelta(0))
    return ROUNDS


@catalogs
@pytest.mark.parametrize("ways", ["threads", "processes"])
def test_two_ticks_and_maintenance_at_once_leave_what_one_tick_alone_leaves(
    catalog: str, ways: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # What a process of its own must be told, and the threads are told as well.
    env = environment(tmp_path / "raced")
    if catalog == "postgres":
        env = {"K2_CATALOG_URI": request.getfixturevalue("postgres_database")}
    alone, raced = LakeDriver(tmp_path / "alone"), LakeDriver(tmp_path / "raced", env)
    for driver in (alone, raced):
        for start in range(0, len(PRINTS), 10):
            receive(driver, PRINTS[start : start + 10] + REPEATS)
    for step in CHAIN:
        step(alone)
    pool: Executor = (
        ThreadPoolExecutor(3)
        if ways == "threads"
        else ProcessPoolExecutor(3, mp_context=get_context("spawn"))
    )
    with pool:
        writers = [tick_often, tick_often, maintain_often]
        done = [pool.submit(w, tmp_path / "raced", env) for w in writers]
        assert [d.result() for d in done] == [ROUNDS] * 3
    assert content(raced) == content(alone)
    appended = [s for s in lineage(raced.lake.table(SILVER)) if change_of(s).mode is Mode.APPEND]
    assert len(appended) <= 4
