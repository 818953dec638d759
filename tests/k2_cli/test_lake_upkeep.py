"""``k2 lake compact``, ``expire`` and ``gc`` say what they do, and what they would."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from k2_cli.lake_upkeep import compact, expire, gc
from k2_lake.gold import merge
from k2_lake.maintenance import compaction, expiry
from k2_lake.silver import refine
from k2_market.errors import UnknownName, UsageError
from k2_market.kinds import Kind
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver, parser

SILVER = "silver.binance_trades"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five ticks in silver, followed by gold, which nothing has looked at for a while."""
    ticks(tmp_path, range(5))
    monkeypatch.setitem(compaction.compact.__kwdefaults__, "quiet", timedelta(0))
    monkeypatch.setitem(expiry.expire.__kwdefaults__, "young", timedelta(0))
    return tmp_path


def ticks(home: Path, numbers: Iterable[int]) -> None:
    driver = LakeDriver(home)
    for n in numbers:
        driver.receive([Print(n, n, "10", "1")])
        refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    merge(driver.lake, driver.engine, Kind.TRADES, DAY0.date())


def aged(home: Path) -> None:
    """As if all had been written ten days ago."""
    for file in home.rglob("warehouse/**/*"):
        if file.is_file():
            os.utime(file, (time.time() - 864_000,) * 2)


def test_small_files_are_merged_forgotten_and_deleted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compact(home, [SILVER], dry_run=True)
    told = capsys.readouterr().out
    assert "5 → 1" in told
    assert told.rstrip().endswith("dry run: nothing was changed")
    compact(home)
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()[2:]] == ["bronze.binance_trades", SILVER]
    compact(home)
    assert capsys.readouterr().out == "compaction: nothing to do\n"
    ticks(home, [5])
    expire(home, [SILVER], keep=1)
    assert "7 → 1" in capsys.readouterr().out
    gc(home, [SILVER])
    assert capsys.readouterr().out == "gc: nothing to do\n"
    aged(home)
    gc(home, [SILVER])
    [line] = [x for x in capsys.readouterr().out.splitlines() if x.startswith(SILVER)]
    assert "kB" in line
    assert len(list(home.rglob("warehouse/silver/binance_trades/**/*.parquet"))) == 2


def test_a_missing_file_ends_gc_with_the_reason_and_nothing_deleted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aged(home)
    files = list(home.rglob("warehouse/silver/binance_trades/**/*.parquet"))
    files[0].unlink()
    with pytest.raises(typer.Exit) as ended:
        gc(home, [SILVER])
    assert ended.value.exit_code == 1
    assert f"k2: {SILVER}: " in capsys.readouterr().err
    assert len(list(home.rglob("warehouse/silver/binance_trades/**/*.parquet"))) == len(files) - 1


def test_a_table_or_a_lake_that_does_not_exist_is_said(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown table 'gold\.nothing'"):
        compact(home, ["gold.nothing"])
    with pytest.raises(UsageError, match="there is no lake at"):
        expire(tmp_path / "nowhere")
