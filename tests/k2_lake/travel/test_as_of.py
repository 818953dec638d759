"""Which state is read: by id, tag or instant; what is not kept is refused with what there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k2_lake.history import lineage
from k2_lake.read_sql import read_sql
from k2_lake.tables import TRADES_TABLE
from k2_lake.travel.as_of import AsOf, committed_at, planned_as_of, resolve_as_of
from k2_market.errors import UnknownName, UsageError
from k2_market.records import TRADE
from tests.frames import Print
from tests.lakes import LakeDriver

COUNT = "select count(*) as n from gold.trades"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> LakeDriver:
    """Three ticks of one trade each, the second tagged ``second``."""
    made = LakeDriver(tmp_path_factory.mktemp("lake"))
    for n in range(3):
        made.receive([Print(n, n * 1000, "10", "1")])
        made.tick()
    gold = made.lake.table(TRADES_TABLE)
    gold.manage_snapshots().create_tag(lineage(gold)[1].snapshot_id, "second").commit()
    return made


def count(driver: LakeDriver, as_of: str, sql: str = COUNT) -> int:
    with read_sql(driver.lake, sql, as_of=AsOf.parse(as_of)) as result:
        [row] = [row for batch in result.batches for row in batch.to_pylist()]
    found: int = row["n"]
    return found


def test_digits_are_an_id_a_date_is_an_instant_and_the_rest_a_tag() -> None:
    assert AsOf.parse("123").snapshot_id == 123
    assert AsOf.parse("v1.2_b-c").tag == "v1.2_b-c"
    at = datetime(2024, 8, 8, 10, tzinfo=UTC)
    assert AsOf.parse("2024-08-08T12:00:00+02:00").at == at
    assert AsOf.parse("2024-08-08").at == at.replace(hour=0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither a snapshot id"),
        ("2024-08-08T12:00:00", "has no zone"),
        ("2024-13-01", "is not a time"),
        ("2990-01-01", "yet to come"),
        ("1" * 20, "neither"),
        ("a tag", "neither"),
        ("_x", "neither"),
    ],
)
def test_what_is_no_moment_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        AsOf.parse(text)


def test_an_id_a_tag_and_an_instant_read_the_rows_of_then(driver: LakeDriver) -> None:
    kept = lineage(driver.lake.table(TRADES_TABLE))
    for n, snapshot in enumerate(reversed(kept), 1):
        assert count(driver, str(snapshot.snapshot_id)) == n
        assert count(driver, committed_at(snapshot).isoformat()) == n
    just_before = committed_at(kept[0]) - timedelta(microseconds=1)
    assert count(driver, just_before.isoformat()) == 2
    assert count(driver, "second") == 2
    assert count(driver, "2020-01-01T00:00:00Z") == 0


def test_an_instant_goes_for_every_table_of_a_statement(driver: LakeDriver) -> None:
    both = "select (select count(*) from gold.trades) * 10 + count(*) as n from gold.ohlcv_1m"
    assert count(driver, datetime.now(UTC).isoformat(), both) == 31
    assert count(driver, "2020-01-01", both) == 0
    with pytest.raises(UnknownName, match=r"'second of gold\.ohlcv_1m'.*none; `k2 lake tag"):
        count(driver, "second", both)


def test_a_snapshot_id_is_of_one_table_and_the_message_says_which(driver: LakeDriver) -> None:
    gold = lineage(driver.lake.table(TRADES_TABLE))[0].snapshot_id
    both = "select count(*) as n from gold.trades, gold.ohlcv_1m"
    wanted = rf"snapshot {gold} is of gold\.trades, but the statement reads gold\.ohlcv_1m, gold"
    with pytest.raises(UsageError, match=wanted):
        count(driver, str(gold), both)
    with pytest.raises(UsageError, match=r"is of gold\.trades, but .* reads gold\.ohlcv_5m\. A"):
        count(driver, str(gold), "select count(*) as n from gold.ohlcv_5m")
    with pytest.raises(UsageError, match="is of no table of the lake"):
        count(driver, "5", both)


def test_an_unknown_id_or_tag_names_what_there_is_and_the_next_step(driver: LakeDriver) -> None:
    kept = lineage(driver.lake.table(TRADES_TABLE))
    with pytest.raises(UnknownName) as unknown:
        count(driver, "5")
    for part in (
        "unknown snapshot '5'",
        "3 of gold.trades",
        str(kept[-1].snapshot_id),
        f"to {kept[0].snapshot_id}",
        "`k2 lake snapshots gold.trades`",
    ):
        assert part in str(unknown.value)
    with pytest.raises(UnknownName, match=r"unknown tag 'third of gold\.trades'\. Known: second\."):
        count(driver, "third")


@pytest.mark.any_storage
def test_expired_history_is_refused_and_never_taken_for_an_empty_table(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for n in range(3):
        driver.receive([Print(n, n * 1000, "10", "1")])
        driver.tick()
    gold = driver.lake.table(TRADES_TABLE)
    newest, middle, oldest = lineage(gold)
    gold.manage_snapshots().create_tag(oldest.snapshot_id, "kept").commit()
    gold.refresh()
    gold.maintenance.expire_snapshots().by_id(middle.snapshot_id).commit()
    gold.refresh()
    assert planned_as_of(gold, TRADE.schema, AsOf.parse("kept")).rows == 1
    for at in ("2020-01-01", committed_at(middle).isoformat()):
        with pytest.raises(UsageError, match=f"the oldest is {newest.snapshot_id} of .*expired"):
            resolve_as_of(gold, AsOf.parse(at))
    with pytest.raises(UnknownName, match=f"unknown snapshot '{middle.snapshot_id}'"):
        resolve_as_of(gold, AsOf.parse(str(middle.snapshot_id)))


def test_a_table_never_written_was_empty_at_any_instant(tmp_path: Path) -> None:
    table = LakeDriver(tmp_path).lake.table(TRADES_TABLE)
    assert planned_as_of(None, TRADE.schema, AsOf.parse("x")).rows == 0
    assert planned_as_of(table, TRADE.schema, AsOf.parse("2020-01-01")).rows == 0
    assert planned_as_of(table, TRADE.schema, None).rows == 0
    with pytest.raises(UnknownName, match=r"none, gold\.trades has not been written"):
        resolve_as_of(table, AsOf.parse("5"))
