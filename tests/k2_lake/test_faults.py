"""What fails is told with table, file and next step, and nothing is half-committed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from k2_lake.candles import build_candles
from k2_lake.commit import commit
from k2_lake.gold import merge
from k2_lake.history import Mode
from k2_lake.read_sql import read_sql
from k2_lake.scan import of_day, planned
from k2_lake.silver import refine
from k2_lake.tables import GAPS_TABLE, TABLES, TRADES_TABLE, bronze_name, candle_name, silver_name
from k2_market.errors import FileBroken, LakeUnavailable
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from tests.faulty import as_nobody, cut, files_of, filled, scramble, small_disk
from tests.frames import ARRIVAL, DAY0, Print
from tests.lakes import LakeDriver, parser

pytestmark = pytest.mark.local_storage

BRONZE, SILVER = bronze_name("binance", Kind.TRADES), silver_name("binance", Kind.TRADES)
MINUTES = "gold.ohlcv_1m"
DAY = 86_400_000
# Each id but two of them: gaps are found as well.
PRINTS = [Print(n + (n > 300) * 2, n * 900, str(n % 7 + 1), "0.5") for n in range(600)]
TABLES_OF_CHAIN = [BRONZE, SILVER, TRADES_TABLE, MINUTES, "gold.ohlcv_1d", GAPS_TABLE]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what ``disk/home`` was after half of the frames, and after all of them."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "disk").mkdir()
    with small_disk(folder / "disk", "24m"):
        driver = LakeDriver(folder / "disk" / "home")
        for part, name in ((PRINTS[:300], "half"), (PRINTS[300:], "whole")):
            driver.receive(part)
            driver.tick()
            shutil.copytree(folder / "disk" / "home", folder / name)
        yield folder


@pytest.fixture(scope="module")
def undisturbed(built: Path) -> dict[str, Any]:
    return _rows(_restored(built, "whole"))


@pytest.fixture
def driver(built: Path) -> LakeDriver:
    return _restored(built, "whole")


@pytest.fixture
def halfway(built: Path) -> LakeDriver:
    return _restored(built, "half")


def _restored(built: Path, name: str) -> LakeDriver:
    """Always in the same place: Iceberg's files name each other in full."""
    home = built / "disk" / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(built / name, home)
    return LakeDriver(home)


def _rows(driver: LakeDriver) -> dict[str, Any]:
    return {name: driver.rows(name) for name in TABLES_OF_CHAIN}


def _fresh(driver: LakeDriver) -> LakeDriver:
    return LakeDriver(driver.lake.settings.home)


@pytest.mark.parametrize("sort", ["metadata file", "manifest list", "manifest", "data file"])
def test_a_broken_file_is_told_with_table_file_and_next_step_and_restored_all_is_well(
    driver: LakeDriver, undisturbed: dict[str, Any], sort: str
) -> None:
    path = files_of(driver.lake, TRADES_TABLE)[sort]
    whole = path.read_bytes()
    said = re.compile(
        rf"gold\.trades: the {sort} file://{re.escape(str(path))} is (damaged|missing)"
        r".*restore the file from a backup",
        re.IGNORECASE,
    )
    for break_it in (cut, scramble, lambda p: p.write_bytes(b""), Path.unlink):
        break_it(path)
        with pytest.raises(FileBroken, match=said):
            _fresh(driver).rows(TRADES_TABLE)
        path.write_bytes(whole)
    assert _rows(_fresh(driver)) == undisturbed


def test_a_manifest_cut_between_two_of_its_blocks_is_not_read_as_fewer_files(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(n, n * DAY, "1", "1") for n in range(4)])
    driver.tick()
    path = files_of(driver.lake, TRADES_TABLE)["manifest"]
    whole = path.read_bytes()
    # Every block ends with the sixteen bytes that the header ends with.
    ends = [m.end() for m in re.finditer(re.escape(whole[-16:]), whole)]
    assert len(ends) > 1
    for end in ends[:-1]:
        path.write_bytes(whole[:end])
        with pytest.raises(FileBroken, match=rf"{end:,} of {len(whole):,} bytes"):
            _fresh(driver).rows(TRADES_TABLE)


@pytest.mark.parametrize("sort", ["metadata file", "manifest list", "manifest"])
def test_a_commit_on_broken_metadata_adds_nothing_and_goes_on_once_restored(
    halfway: LakeDriver, undisturbed: dict[str, Any], sort: str
) -> None:
    driver, home = halfway, halfway.lake.settings.home
    driver.receive(PRINTS[300:])
    path = files_of(driver.lake, SILVER)[sort]
    whole = path.read_bytes()
    cut(path)
    with pytest.raises(FileBroken, match=rf"silver\.binance_trades: the {sort}"):
        _fresh(driver).recompute([DAY0.date()])
    path.write_bytes(whole)
    after = _fresh(driver)
    assert {p.name for p in _data_files(home)} == _known(after)
    after.tick()
    assert _rows(after) == undisturbed


@pytest.mark.parametrize("table", [SILVER, TRADES_TABLE, MINUTES, "gold.ohlcv_1h", GAPS_TABLE])
@pytest.mark.parametrize("break_it", [cut, Path.unlink])
def test_a_broken_day_is_mended_by_materializing_it_again(
    driver: LakeDriver,
    undisturbed: dict[str, Any],
    table: str,
    break_it: Callable[[Path], None],
) -> None:
    break_it(files_of(driver.lake, table)["data file"])
    with pytest.raises(FileBroken, match=rf"{re.escape(table)}: .*Materialize 20.* again"):
        _fresh(driver).rows(table)
    mending = _fresh(driver)
    mending.recompute([DAY0.date()])
    assert _rows(mending) == undisturbed


def test_a_broken_file_of_candles_is_replaced_by_the_next_tick_of_its_day(
    driver: LakeDriver,
) -> None:
    cut(files_of(driver.lake, MINUTES)["data file"])
    late = Print(9_000, 1, "2", "1")
    for one in (driver, whole := LakeDriver(driver.lake.settings.home.with_name("whole"))):
        if one is whole:
            one.receive(PRINTS)
        one.receive([late])
        one.tick()
    assert driver.rows(MINUTES) == whole.rows(MINUTES)


def _data_files(home: Path) -> set[Path]:
    return set(home.rglob("*.parquet"))


def _known(driver: LakeDriver) -> set[str]:
    found: set[str] = set()
    for name in [*TABLES_OF_CHAIN, *(candle_name(t) for t in TIMEFRAMES)]:
        table = driver.lake.existing(name)
        for snapshot in [] if table is None else table.metadata.snapshots:
            found |= set(
                planned(table, TABLES[name].schema, snapshot_id=snapshot.snapshot_id).paths
            )  # type: ignore[arg-type]
    return {path.rsplit("/", 1)[1] for path in found}


def _refine(driver: LakeDriver) -> None:
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())


def _merge(driver: LakeDriver) -> None:
    merge(driver.lake, driver.engine, Kind.TRADES, DAY0.date())


def _minutes(driver: LakeDriver) -> None:
    build_candles(driver.lake, driver.engine, "1m", DAY0.date())


def _rewrite(driver: LakeDriver) -> None:
    """The day's files of gold rewritten as one, as compaction does."""
    table = driver.lake.table(TRADES_TABLE)
    old = planned(table, TABLES[TRADES_TABLE].schema, of_day("trade_date", DAY0.date()))
    rows = driver.engine.query("select * from r", {"r": old}, old.schema)
    commit(table, add=[rows], remove=old.files, mode=Mode.MAINTENANCE, days=[])


STEPS: dict[str, Callable[[LakeDriver], Any]] = {
    BRONZE: lambda driver: driver.receive(PRINTS[300:]),
    SILVER: _refine,
    TRADES_TABLE: _merge,
    MINUTES: _minutes,
    "compaction": _rewrite,
}
NO_ROOM = re.compile(
    r"^[a-z_.0-9]+ (could not be written|cannot be opened): .*"
    r"(No space left on device|disk is full|disk I/O error)"
)


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_leaves_nothing_of_a_commit_and_the_next_run_goes_on(
    halfway: LakeDriver, undisturbed: dict[str, Any], step: str
) -> None:
    home, names = halfway.lake.settings.home, list(STEPS)
    for earlier in names[: names.index(step)]:
        STEPS[earlier](halfway)
    before, told = _rows(halfway), []
    for room in (0, 12_288, 32_768, 65_536):
        with filled(home.parent, room):
            try:
                STEPS[step](_fresh(halfway))
            except LakeUnavailable as error:
                told.append(str(error))
            else:
                break
        assert _rows(_fresh(halfway)) == before
        assert {p.name for p in _data_files(home)} == _known(halfway)
    assert len(told) >= 2
    assert all(map(NO_ROOM.match, told)), told
    for later in names[names.index(step) + (len(told) < 4) :]:
        STEPS[later](_fresh(halfway))
    for finish in (halfway.candles, halfway.gaps):
        finish(DAY0.date())
    assert _rows(_fresh(halfway)) == undisturbed


def test_a_warehouse_that_may_not_be_read_or_written_is_told_and_works_again_afterwards(
    halfway: LakeDriver, undisturbed: dict[str, Any]
) -> None:
    driver = halfway
    bronze = driver.lake.table(BRONZE)
    with as_nobody():
        with pytest.raises(LakeUnavailable, match=r"gold\.trades.*Permission denied"):
            driver.rows(TRADES_TABLE)
        with pytest.raises(LakeUnavailable, match=r"bronze\.binance_trades.*written.*denied"):
            commit(bronze, add=[], mode=Mode.APPEND, days=[ARRIVAL.date()])
        with pytest.raises(LakeUnavailable, match=r"the catalog cannot be opened"):
            _fresh(driver).rows(TRADES_TABLE)
    driver.receive(PRINTS[300:])
    driver.tick()
    assert _rows(driver) == undisturbed


def test_a_warehouse_that_is_not_mounted_is_told_and_nothing_is_begun_in_its_place(
    driver: LakeDriver, undisturbed: dict[str, Any]
) -> None:
    home = driver.lake.settings.home
    (home / "warehouse").rename(home / "elsewhere")
    with pytest.raises(FileBroken, match=r"bronze.*missing.*is its disk mounted"):
        _fresh(driver).tick()
    assert not list(home.rglob("warehouse/*"))
    (home / "elsewhere").rename(home / "warehouse")
    assert _rows(_fresh(driver)) == undisturbed


def test_days_of_a_broken_file_are_those_between_its_bounds(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(n, n * DAY, "1", "1") for n in (0, 2)])
    driver.tick()
    cut(files_of(driver.lake, SILVER)["data file"])
    _fresh(driver).recompute([])
    head = driver.lake.table(SILVER).current_snapshot()
    assert head is not None
    assert head.summary is not None
    assert head.summary["k2.days"] == str(
        [(DAY0 + timedelta(days=n)).date().isoformat() for n in range(3)]
    ).replace("'", '"')


def test_an_error_that_no_file_is_to_blame_for_stays_what_it_is(driver: LakeDriver) -> None:
    with pytest.raises(ValueError, match="Could not find field"):
        commit(
            driver.lake.table(MINUTES),
            add=[pa.table({"nonsense": [1]})],
            mode=Mode.APPEND,
            days=[],
        )
    assert {p.name for p in _data_files(driver.lake.settings.home)} == _known(driver)


def test_a_broken_file_is_no_mistake_of_whoever_asks_in_sql(driver: LakeDriver) -> None:
    break_it = files_of(driver.lake, TRADES_TABLE)["data file"]
    for how in (scramble, cut, Path.unlink):
        how(break_it)
        with (
            pytest.raises(LakeUnavailable, match=r"a data file cannot be read.*k2 doctor --deep"),
            read_sql(driver.lake, "select sum(price) from gold.trades") as found,
        ):
            list(found.batches)
