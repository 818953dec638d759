"""How the tables stand: rows, files, snapshots, and who waits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k2_cli.lake import Format, status
from k2_cli.show_lake import NOTHING_YET
from k2_lake.maintenance.status import survey
from k2_lake.maintenance.waiting import Waiting
from k2_lake.silver import refine
from k2_lake.tables import TABLES, consumers_of
from k2_market.errors import UsageError
from k2_market.kinds import Kind
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver, open_lake, parser


def test_every_table_tells_its_rows_files_and_snapshots_and_who_waits(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(3):
        driver.receive([Print(2 * n, n, "10", "1"), Print(2 * n + 1, n, "10", "1")])
        driver.tick()
    driver.receive([Print(9, 9, "10", "1")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    found = {s.name: s for s in survey(driver.lake)}
    gold, silver = found["gold.trades"], found["silver.binance_trades"]
    assert (gold.rows, gold.files, gold.small_files, gold.snapshots) == (6, 3, 3, 3)
    assert (silver.rows, silver.files, silver.snapshots) == (7, 4, 4)
    assert silver.waiting == (Waiting("gold.trades", 1, (DAY0.date(),)),)
    assert gold.waiting == ()
    assert (found["gold.ohlcv_1m"].files, found["gold.ohlcv_1m"].small_files) == (1, 0)
    assert gold.metadata_bytes > 1000
    assert not {"silver.rejected", "gold.quotes"} & set(found)


@pytest.mark.local_storage
def test_a_lake_without_rows_and_a_folder_without_lake_say_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="there is no lake at"):
        status(tmp_path)
    open_lake(tmp_path).table("gold.trades")
    status(tmp_path)
    assert NOTHING_YET in capsys.readouterr().out
    status(tmp_path, Format.JSON)
    assert json.loads(capsys.readouterr().out) == []


def test_every_table_that_is_followed_exists() -> None:
    assert {source for t in TABLES.values() for source in t.made_from} <= set(TABLES)
    assert consumers_of("gold.trades") == ["gold.gaps", "gold.ohlcv_1m"]
    assert consumers_of("bronze.kraken_quotes") == ["silver.kraken_quotes", "silver.rejected"]
