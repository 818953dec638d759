"""``k2 lake migrate``: what it says, what it adds, and that it adds nothing where it cannot all."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from k2_cli.lake import lake as app
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import SchemaMismatch, UsageError
from k2_market.records import TRADE
from tests.lakes import open_lake

SILVER = "silver.binance_trades"


def run(home: Path, *words: str) -> str:
    result = CliRunner().invoke(app, ["migrate", "--home", str(home), *words])
    if result.exception is not None:
        raise result.exception
    return result.output


def older(home: Path, *names: str, without: str = "vendor_data") -> None:
    """Tables as they were before they had that column."""
    for name in names:
        with open_lake(home).table(name).update_schema() as update:
            update.delete_column(without)


def columns(home: Path, name: str) -> list[str]:
    table = open_lake(home).existing(name)
    return [] if table is None else [f.name for f in table.schema().fields]


def test_a_dry_run_says_what_the_next_run_does(tmp_path: Path) -> None:
    older(tmp_path, SILVER, TRADES_TABLE)
    told = [f"{SILVER}: vendor_data is added", f"{TRADES_TABLE}: vendor_data is added"]
    looked = run(tmp_path, "--dry-run").splitlines()
    assert looked == [*told, "Nothing was changed: this was a dry run."]
    assert "vendor_data" not in columns(tmp_path, TRADES_TABLE)
    assert run(tmp_path).splitlines() == told
    assert columns(tmp_path, SILVER) == columns(tmp_path, TRADES_TABLE) == TRADE.columns
    assert run(tmp_path) == "All 2 tables are as this version of K2 has them.\n"


def test_no_table_is_changed_where_one_cannot_be(tmp_path: Path) -> None:
    older(tmp_path, SILVER)
    older(tmp_path, TRADES_TABLE, without="price")
    with pytest.raises(SchemaMismatch, match=r"gold\.trades .*requires the column price"):
        run(tmp_path)
    assert "vendor_data" not in columns(tmp_path, SILVER)


def test_without_a_lake_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no lake at"):
        run(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
