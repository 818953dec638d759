"""The engine reads the very files that it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from k2_lake.scan import planned
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import LakeUnavailable, UsageError
from k2_market.records import TRADE
from tests.frames import Print
from tests.lakes import LakeDriver


@pytest.mark.parametrize("name", ["a[b]c", "st*r", "a b", "quo'te"])
def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    driver = LakeDriver(tmp_path / name)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    assert [c["close"] for c in driver.rows("gold.ohlcv_1d")] == [10]


@pytest.mark.parametrize("name", ["what?", "per%20cent", "a#b"])
def test_a_home_that_cannot_stand_in_a_url_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="Choose another"):
        LakeDriver(tmp_path / name)


@pytest.mark.local_storage
def test_a_data_file_that_is_gone_is_named(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    files = planned(driver.lake.table(TRADES_TABLE), TRADE.schema)
    gone = Path(files.paths[0].removeprefix("file://"))
    gone.unlink()
    with pytest.raises(LakeUnavailable, match=gone.name):
        driver.rows(TRADES_TABLE)
