"""A draft has the files that it was given, is nobody else's, and leaves nothing in the catalog."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from k2_lake.scan import planned
from k2_lake.spark import draft
from k2_lake.tables import TABLES
from tests.frames import Print
from tests.lakes import LakeDriver

BRONZE = "bronze.binance_trades"


def test_a_draft_that_was_left_behind_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(3):
        driver.receive([Print(n, n, "10", "1")])
    table = driver.lake.table(BRONZE)
    files = planned(table, TABLES[BRONZE].schema).files[:2]

    def made() -> list[tuple[str, ...]]:
        with draft.draft(driver.lake, table, files) as name:
            held = draft.files_of_draft(driver.lake, name)
            assert {f.file_path for f in held} == {f.file_path for f in files}
            return driver.lake.catalog.list_tables(draft.NAMESPACE)

    monkeypatch.setattr(driver.lake.catalog, "drop_table", lambda name: None)
    [left] = made()
    monkeypatch.undo()
    assert left in made()
    monkeypatch.setattr(draft, "LEFT_BEHIND", timedelta(0))
    assert left not in made()
    assert driver.lake.catalog.list_tables(draft.NAMESPACE) == []
    assert driver.lake.table(BRONZE).metadata_location == table.metadata_location
    assert len(driver.rows(BRONZE)) == 3
