"""After a rollback and the next tick the lake is as if the accident had never happened."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from k2_feeds.parsing.frames import Parsed
from k2_lake.bronze import begin_epoch
from k2_lake.commit import commit
from k2_lake.history import ROLLED_BACK_TO, Mode, consumed, lineage, summary_value
from k2_lake.scan import of_day, planned
from k2_lake.silver import refine
from k2_lake.tables import REJECTED_TABLE, TRADES_TABLE, candle_name
from k2_lake.travel.as_of import AsOf
from k2_lake.travel.diff import DayDiff, diff
from k2_lake.travel.rollback import Rollback, plan_rollback, roll_back
from k2_lake.travel.snapshots import kept_snapshots
from k2_lake.travel.tags import set_tag
from k2_market.errors import UnknownName, UsageError
from k2_market.kinds import Kind
from k2_market.records import CANDLE, TRADE
from tests.frames import DAY0, Print
from tests.lakes import LakeDriver, parser

SILVER, BRONZE = "silver.binance_trades", "bronze.binance_trades"
DAY = 86_400_000
Rows = dict[str, list[dict[str, object]]]
TODAY = DAY0.date()


def allow(plan: Rollback) -> None:
    """No table but bronze needs Kafka."""


def back(driver: LakeDriver, name: str, to: str) -> Rollback:
    return roll_back(driver.lake, driver.engine, name, AsOf.parse(to), allow)


def filled(home: Path) -> LakeDriver:
    """Two days of trades, tagged ``good``."""
    driver = LakeDriver(home)
    driver.receive([Print(n, n * 20_000, f"1{n}", "1") for n in range(4)])
    driver.receive([Print(10, DAY, "20", "1")])
    driver.tick()
    set_tag(driver.lake, "good", [BRONZE, SILVER, TRADES_TABLE])
    return driver


def later(driver: LakeDriver) -> None:
    """What arrives after the accident as well as without it."""
    driver.receive([Print(4, 80_000, "14", "1"), Print(11, DAY + 1000, "21", "2")])


@pytest.fixture(scope="module")
def spared(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """All rows of a lake that had no accident."""
    driver = filled(tmp_path_factory.mktemp("spared"))
    later(driver)
    driver.tick()
    return driver.everything()


@pytest.fixture
def driver(tmp_path: Path) -> LakeDriver:
    return filled(tmp_path / "struck")


def doubled(rows: pa.Table) -> pa.Table:
    at = rows.schema.get_field_index("price")
    price = pc.multiply(rows["price"], pa.scalar(2)).cast(rows.schema.field(at).type)
    return rows.set_column(at, rows.schema.field(at), price)


def wrong_parser(frames: pa.Table) -> Parsed:
    parsed = parser()(frames)
    return Parsed(doubled(parsed.rows), parsed.rejected, parsed.control, parsed.other)


def test_a_wrong_parser_is_undone_from_silver_to_the_candles(
    driver: LakeDriver, spared: Rows
) -> None:
    later(driver)
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, wrong_parser)
    driver.tick()
    assert driver.rows(candle_name("1d")) != spared[candle_name("1d")]
    plan = back(driver, SILVER, "good")
    assert plan.days == (
        DayDiff(TODAY, 0, 1, 0),
        DayDiff(plan.days[1].day, 0, 1, 0),
    )
    assert (plan.awaits, plan.followed_by, plan.reread) == ({BRONZE: 1}, (TRADES_TABLE,), None)
    driver.tick()
    assert driver.everything() == spared


def test_damaged_gold_is_undone_and_takes_up_again_what_silver_has(
    driver: LakeDriver, spared: Rows
) -> None:
    gold = driver.lake.table(TRADES_TABLE)
    old = planned(gold, TRADE.schema, of_day("trade_date", TODAY))
    rows = driver.engine.query("select * from old", {"old": old}, TRADE.schema)
    commit(gold, add=[doubled(rows)], remove=old.files, mode=Mode.RECOMPUTE, days=[TODAY])
    later(driver)
    driver.tick()
    plan = back(driver, TRADES_TABLE, "good")
    assert (plan.days[0], plan.awaits[SILVER]) == (DayDiff(TODAY, 0, 1, 4), 1)
    assert plan.followed_by == ("gold.gaps", candle_name("1m"))
    driver.tick()
    assert driver.everything() == spared


def test_candles_come_back_without_anything_new_in_their_source(
    driver: LakeDriver, spared: Rows
) -> None:
    later(driver)
    driver.tick()
    table = driver.lake.table(candle_name("1m"))
    commit(
        table,
        remove=planned(table, CANDLE.schema, of_day("window_date", TODAY)).files,
        mode=Mode.RECOMPUTE,
        days=[TODAY],
    )
    driver.candles(TODAY)
    assert len(driver.rows(candle_name("1d"))) == 1
    back(driver, candle_name("1m"), str(lineage(table)[1].snapshot_id))
    driver.candles(TODAY)
    assert driver.everything() == spared


def test_a_rollback_is_a_commit_like_any_other_and_can_be_rolled_back(driver: LakeDriver) -> None:
    later(driver)
    driver.tick()
    before = driver.everything()
    gold = driver.lake.table(TRADES_TABLE)
    head, then = lineage(gold)[0], lineage(gold)[-1]
    plan = back(driver, TRADES_TABLE, "good")
    gold = driver.lake.table(TRADES_TABLE)
    new = lineage(gold)[0]
    assert (plan.head.snapshot_id, new.parent_snapshot_id) == (head.snapshot_id, head.snapshot_id)
    assert summary_value(gold, ROLLED_BACK_TO) == str(plan.to.snapshot_id)
    assert diff(driver.engine, gold, plan.to, new) == []
    assert consumed(gold) == consumed(gold, plan.to.sequence_number)
    newest = kept_snapshots(gold)[0]
    assert (newest.mode, newest.added, newest.removed, newest.rows) == ("rollback", 0, 2, 5)
    assert len(newest.days) == 2
    assert then.snapshot_id in {s.snapshot_id for s in lineage(gold)}
    back(driver, TRADES_TABLE, str(head.snapshot_id))
    assert driver.rows(TRADES_TABLE) == before[TRADES_TABLE]
    driver.tick()
    assert driver.everything() == before


def test_a_plan_changes_nothing_and_going_where_one_is_commits_nothing(driver: LakeDriver) -> None:
    gold = driver.lake.table(TRADES_TABLE)
    old = planned(gold, TRADE.schema)
    together = driver.engine.query("select * from old", {"old": old}, TRADE.schema)
    commit(gold, add=[together], remove=old.files, mode=Mode.MAINTENANCE, days=())
    plan_rollback(driver.lake, driver.engine, SILVER, AsOf.parse("good"))
    assert back(driver, TRADES_TABLE, "good").days == ()
    assert [len(lineage(driver.lake.table(n))) for n in (TRADES_TABLE, SILVER)] == [3, 1]


def test_a_day_that_was_only_compacted_stays_compacted(driver: LakeDriver) -> None:
    driver.receive([Print(5, 100_000, "1", "1")])
    driver.tick()
    gold = driver.lake.table(TRADES_TABLE)
    old = planned(gold, TRADE.schema)
    together = driver.engine.query("select * from old", {"old": old}, TRADE.schema)
    commit(gold, add=[together], remove=old.files, mode=Mode.MAINTENANCE, days=())
    second = {f.file_path for f in planned(gold, TRADE.schema).files if f.partition[0] != 19943}
    plan = back(driver, TRADES_TABLE, "good")
    assert plan.days == (DayDiff(TODAY, 0, 1, 0),)
    now = {f.file_path for f in planned(driver.lake.table(TRADES_TABLE), TRADE.schema).files}
    assert second < now
    assert len(driver.rows(TRADES_TABLE)) == 5


def test_what_the_sources_no_longer_keep_is_refused_with_numbers(driver: LakeDriver) -> None:
    for n in range(3):
        driver.receive([Print(20 + n, n * 20_000, "1", "1")])
        driver.tick()
    silver = driver.lake.table(SILVER)
    gone = [s.snapshot_id for s in lineage(silver)[1:]]
    silver.manage_snapshots().remove_tag("good").commit()
    silver.refresh()
    silver.maintenance.expire_snapshots().by_ids(gone).commit()
    gold = driver.lake.table(TRADES_TABLE)
    possible = lineage(gold)[1].snapshot_id
    wanted = (
        rf"gold\.trades of snapshot \d+ had consumed {SILVER} up to sequence 1, .* keeps its "
        rf"commits only from sequence 4 on\. Possible is {possible} or a newer one"
    )
    with pytest.raises(UsageError, match=wanted):
        back(driver, TRADES_TABLE, "good")
    assert back(driver, TRADES_TABLE, str(possible)).awaits == {SILVER: 1}


def test_rejected_rows_unknown_states_and_times_before_the_first_row_are_refused(
    driver: LakeDriver,
) -> None:
    driver.receive([Print(30, 0, "-1", "1")])
    driver.tick()
    with pytest.raises(
        UsageError, match=r"silver\.rejected is not rolled back: its rows come with"
    ):
        back(driver, REJECTED_TABLE, "good")
    with pytest.raises(UnknownName, match="unknown tag"):
        back(driver, TRADES_TABLE, "bad")
    with pytest.raises(UsageError, match=r"had no rows as of 2020-01-01: its first commit is of"):
        back(driver, TRADES_TABLE, "2020-01-01")
    with pytest.raises(UsageError, match=r"gold\.quotes was never written"):
        back(driver, "gold.quotes", "good")


def test_a_commit_in_between_is_seen_and_the_rollback_planned_anew(
    driver: LakeDriver, spared: Rows
) -> None:
    plans = []

    def overtaken(plan: Rollback) -> None:
        plans.append(plan)
        if len(plans) == 1:
            later(driver)
            driver.tick()

    driver.receive([Print(5, 100_000, "1", "1")])
    driver.tick()
    roll_back(driver.lake, driver.engine, TRADES_TABLE, AsOf.parse("good"), overtaken)
    assert [sum(d.removed for d in p.days) for p in plans] == [1, 3]
    driver.tick()
    assert len(driver.rows(TRADES_TABLE)) == len(spared[TRADES_TABLE]) + 1


def test_bronze_says_which_frames_must_come_again_and_refuses_other_epochs(
    driver: LakeDriver,
) -> None:
    driver.receive([Print(40, 0, "1", "1"), Print(41, 0, "1", "1")])
    plan = plan_rollback(driver.lake, driver.engine, BRONZE, AsOf.parse("good"))
    assert plan.reread is not None
    assert (plan.reread.start, plan.reread.end, plan.reread.frames) == ({0: 5}, {0: 7}, 2)

    def refuse(_: Rollback) -> None:
        raise UsageError("not now")

    with pytest.raises(UsageError, match="not now"):
        roll_back(driver.lake, driver.engine, BRONZE, AsOf.parse("good"), refuse)
    assert len(driver.rows(BRONZE)) == 7
    begin_epoch(driver.lake.table(BRONZE), "t", "other", {0: 0})
    with pytest.raises(UsageError, match=r"is of epoch 1 .* the table is in epoch 2"):
        plan_rollback(driver.lake, driver.engine, BRONZE, AsOf.parse("good"))
