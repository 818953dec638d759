"""``k2 lake snapshots``, ``tag``, ``diff`` and ``k2 sql --as-of``: what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k2_cli.lake import Format
from k2_cli.lake_travel import diff, snapshots, tag
from k2_cli.sql import Format as SqlFormat
from k2_cli.sql import sql
from k2_lake.history import lineage
from k2_market.errors import UsageError
from tests.frames import Print
from tests.lakes import LakeDriver

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ticks of one trade each; all tables are tagged ``v1`` after the first."""
    folder = tmp_path_factory.mktemp("travel")
    driver = LakeDriver(folder)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    tag("v1", None, False, folder)
    driver.receive([Print(2, 1000, "12", "1")])
    driver.tick()
    return folder


def test_snapshots_are_listed_with_what_each_did(home: Path, capsys: Captured) -> None:
    newest, oldest = lineage(LakeDriver(home).lake.table("gold.trades"))
    snapshots("gold.trades", 30, home)
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0].split()
        == "snapshot sequence committed (UTC) mode days added removed rows tags".split()
    )
    cells = lines[2].split()
    assert (cells[0], cells[1], cells[4:]) == (
        str(newest.snapshot_id),
        "2",
        ["append", "2024-08-08", "1", "0", "2"],
    )
    assert lines[3].split()[0] == str(oldest.snapshot_id)
    assert lines[3].split()[-3:] == ["0", "1", "v1"]
    snapshots("bronze.binance_trades", 1, home)
    out = capsys.readouterr().out
    assert "0:1-2" in out
    assert "1 of 2; --limit 2 shows all" in out
    snapshots("gold.trades", 30, home, Format.JSON)
    [first, second] = json.loads(capsys.readouterr().out)
    assert (first["snapshot_id"], second["tags"]) == (str(newest.snapshot_id), ["v1"])
    with pytest.raises(UsageError, match=r"gold\.quotes was never written here"):
        snapshots("gold.quotes", 30, home)


def test_a_tag_is_read_by_sql_and_taken_off_again(home: Path, capsys: Captured) -> None:
    query = "select count(*) as n, (select max(high) from gold.ohlcv_1d) as high from gold.trades"
    sql(query, home, "v1", SqlFormat.JSON)
    assert json.loads(capsys.readouterr().out) == [{"n": 1, "high": "10.00000000"}]
    sql(query, home, None, SqlFormat.JSON)
    assert json.loads(capsys.readouterr().out) == [{"n": 2, "high": "12.00000000"}]
    tag("v2", ["gold.trades"], False, home)
    out = capsys.readouterr().out
    assert "tag v2" in out
    assert 'k2 sql --as-of v2 "select ..."' in out
    tag("v2", None, True, home)
    assert capsys.readouterr().out == "tag v2 was taken off gold.trades.\n"
    tag("v3", ["gold.ohlcv_1m"], False, home, Format.JSON)
    [only] = json.loads(capsys.readouterr().out)
    assert (only["table"], only["behind"], only["outstanding"]) == ("gold.ohlcv_1m", 0, [])


def test_a_diff_tells_figures_by_day_and_the_rows(home: Path, capsys: Captured) -> None:
    now = str(lineage(LakeDriver(home).lake.table("gold.ohlcv_1m"))[0].snapshot_id)
    diff("gold.ohlcv_1m", "v1", now, True, home)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["2024-08-08", "0", "0", "1"]
    assert lines[3].startswith("~ binance BTC-USDT 2024-08-08T00:00:00Z  high: 10.00000000 -> 12.0")
    diff("gold.ohlcv_1m", now, now, False, home)
    assert capsys.readouterr().out == "gold.ohlcv_1m: no row differs.\n"
    diff("gold.trades", "v1", "2020-01-01", True, home, Format.JSON)
    told = json.loads(capsys.readouterr().out)
    assert told["days"] == [{"day": "2024-08-08", "added": 0, "removed": 1, "changed": 0}]
    assert [(r["what"], r["after"], r["before"]["trade_id"]) for r in told["rows"]] == [
        ("removed", None, "1")
    ]
