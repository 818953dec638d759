"""What differs between two snapshots: exact figures, whatever files the rows are in."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2_lake.commit import commit
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.history import Mode, lineage
from k2_lake.scan import planned
from k2_lake.tables import TRADES_TABLE
from k2_lake.travel.diff import DayDiff, Difference, diff, differences
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.frames import DAY0, Print
from tests.k2_api.lake_of_trades import Made, TradeLake, row_of
from tests.lakes import LakeDriver

pytestmark = pytest.mark.local_storage

ENGINE = DuckDBEngine()
DAY = 86_400
DAYS = [DAY0.date() + timedelta(days=n) for n in range(3)]


def head(table: Table) -> Snapshot:
    return lineage(table)[0]


def put(lake: TradeLake, trades: list[Made], mode: Mode = Mode.RECOMPUTE) -> Snapshot:
    """Exactly these trades become the table's rows."""
    table = lake.lake.table(TRADES_TABLE)
    rows = pa.Table.from_pylist([row_of(t) for t in trades], schema=TRADE.schema)
    old = planned(table, TRADE.schema).files
    return commit(table, add=[rows], remove=old, mode=mode, days=DAYS)


trades = st.builds(
    Made,
    number=st.integers(1, 6),
    at=st.sampled_from([0.5, 1.5, DAY + 0.5]),
    price=st.sampled_from(["1", "2"]),
    conditions=st.sampled_from([None, ["A"], ["A", "B"]]),
    vendor=st.sampled_from([None, {"k": "v"}]),
)
contents = st.lists(trades, max_size=8, unique_by=lambda t: t.number)


@pytest.fixture(scope="module")
def trade_lake(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    return TradeLake(tmp_path_factory.mktemp("diff"))


@settings(max_examples=12, deadline=None)
@given(before=contents, after=contents)
def test_figures_and_rows_are_those_of_a_comparison_by_hand(
    trade_lake: TradeLake, before: list[Made], after: list[Made]
) -> None:
    one, other = put(trade_lake, before), put(trade_lake, after)
    table = trade_lake.lake.table(TRADES_TABLE)
    found = diff(ENGINE, table, one, other)
    assert found == by_hand(before, after)
    rows = list(differences(ENGINE, table, one, other))
    assert Counter(r.what for r in rows) == Counter(
        {
            name: n
            for name in ("added", "removed", "changed")
            if (n := sum(getattr(d, name) for d in found))
        }
    )
    assert replayed([row_of(t) for t in before], rows) == sorted_rows([row_of(t) for t in after])
    assert [(d.day, d.removed, d.added) for d in found] == [
        (d.day, d.added, d.removed) for d in diff(ENGINE, table, other, one)
    ]


def by_hand(before: list[Made], after: list[Made]) -> list[DayDiff]:
    old = {(t.number, day_of(t)): row_of(t) for t in before}
    new = {(t.number, day_of(t)): row_of(t) for t in after}
    found = []
    for day in DAYS:
        counts = (
            sum(k[1] == day for k in new.keys() - old.keys()),
            sum(k[1] == day for k in old.keys() - new.keys()),
            sum(k[1] == day and new[k] != old[k] for k in old.keys() & new.keys()),
        )
        if any(counts):
            found.append(DayDiff(day, *counts))
    return found


def day_of(trade: Made) -> date:
    found: Any = row_of(trade)["trade_date"]
    return found  # type: ignore[no-any-return]


def replayed(rows: list[dict[str, object]], differences: list[Difference]) -> list[object]:
    left = sorted_rows(rows)
    for each in differences:
        if each.before is not None:
            left.remove(dict(each.before))
        if each.after is not None:
            left.append(dict(each.after))
    return sorted_rows(left)


def sorted_rows(rows: Any) -> Any:
    return sorted(rows, key=lambda r: (r["trade_id"], str(r["timestamp"])))


def test_after_a_compaction_nothing_differs_and_a_common_file_is_not_read(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(3):
        driver.receive([Print(n, n * 1000, "10", "1")])
        driver.tick()
    table = driver.lake.table(TRADES_TABLE)
    newest, middle, oldest = lineage(table)
    assert diff(ENGINE, table, oldest, newest) == [DayDiff(DAYS[0], 2, 0, 0)]
    assert diff(ENGINE, table, None, newest) == [DayDiff(DAYS[0], 3, 0, 0)]
    [first] = planned(table, TRADE.schema, snapshot_id=oldest.snapshot_id).paths
    common = Path(first.removeprefix("file://"))
    common.rename(tmp_path / "aside")
    assert diff(ENGINE, table, middle, newest) == [DayDiff(DAYS[0], 1, 0, 0)]
    (tmp_path / "aside").rename(common)
    old = planned(table, TRADE.schema, snapshot_id=newest.snapshot_id)
    together = driver.engine.query("select * from f", {"f": old}, TRADE.schema)
    compacted = commit(table, add=[together], remove=old.files, mode=Mode.MAINTENANCE, days=())
    assert diff(ENGINE, table, newest, compacted) == []
    assert list(differences(ENGINE, table, newest, compacted)) == []


def test_repeats_in_silver_are_rows_of_their_own_and_its_days_can_be_those_of_trading(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    driver.receive([Print(1, 0, "10", "1"), Print(2, DAY * 1000, "10", "1")])
    driver.tick()
    table = driver.lake.table("silver.binance_trades")
    newest, oldest = lineage(table)
    [arrived] = diff(ENGINE, table, oldest, newest)
    assert (arrived.added, arrived.removed, arrived.changed) == (2, 0, 0)
    by_trading = diff(ENGINE, table, oldest, newest, Kind.TRADES.record.day)
    assert by_trading == [DayDiff(DAYS[0], 1, 0, 0), DayDiff(DAYS[1], 1, 0, 0)]


def test_a_table_without_days_and_a_changed_candle_are_told(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    driver.receive([Print(2, 1000, "12", "1")])
    driver.tick()
    table = driver.lake.table("gold.ohlcv_1m")
    newest, oldest = lineage(table)
    assert diff(ENGINE, table, oldest, newest) == [DayDiff(DAYS[0], 0, 0, 1)]
    [changed] = differences(ENGINE, table, oldest, newest)
    assert (changed.what, "close" in changed.columns, "open" in changed.columns) == (
        "changed",
        True,
        False,
    )
    assert changed.before is not None
    assert changed.after is not None
    assert (str(changed.before["high"]), str(changed.after["high"])) == (
        "10.00000000",
        "12.00000000",
    )
