"""Old days are dropped, and nothing that was made of them is lost or spoilt by it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.expressions import EqualTo

from k2_lake.candles import build_candles, pending_days
from k2_lake.gold import merge
from k2_lake.gold import pending_days as gold_pending
from k2_lake.history import Mode, changes_since, consumed, head_sequence, lineage
from k2_lake.maintenance.policy import Policy
from k2_lake.maintenance.retention import Aged, named, retain, survey
from k2_lake.quality.audit import gold_reconciled, silver_reconciled
from k2_lake.quality.candle_audit import minutes_reconciled, rollup_reconciled
from k2_lake.quality.gaps import recorded_gaps
from k2_lake.results import StepResult
from k2_lake.retained import Retained, retained
from k2_lake.scope import Scope
from k2_lake.silver import refine, refine_day
from k2_lake.tables import GAPS_TABLE, TRADES_TABLE, bronze_name, candle_name, silver_name
from k2_market.errors import DayRetired, UsageError
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from tests.frames import ARRIVAL, DAY0, Print, prints_table
from tests.lakes import LakeDriver, parser

DAY_MS = 86_400_000
ONE_DAY = timedelta(days=1)
FIRST = DAY0.date()
DAYS = [FIRST + n * ONE_DAY for n in range(3)]
BRONZE, SILVER = bronze_name("binance", Kind.TRADES), silver_name("binance", Kind.TRADES)
MADE = [TRADES_TABLE, *map(candle_name, TIMEFRAMES)]


def at(trade_id: int, day: int, minute: int, price: str = "10") -> Print:
    return Print(trade_id, day * DAY_MS + minute * 60_000, price, "0.5")


def market(home: Path) -> LakeDriver:
    """Three days of trades, a tick for each."""
    driver = LakeDriver(home)
    for day in range(3):
        driver.receive([at(100 * day + 2 * m, day, m) for m in range(1, 4)])
        driver.tick()
    return driver


def drop(driver: LakeDriver, table: str, before: date) -> Aged:
    """Keep of the table what is from that day on."""
    [aged] = retain(driver.lake, Policy({table: 1}), before + ONE_DAY, [table])
    return aged


def rows_of(driver: LakeDriver, table: str, day: date) -> list[dict[str, object]]:
    name = "trade_date" if table == TRADES_TABLE else "window_date"
    return [row for row in driver.rows(table) if row[name] == day]


@pytest.mark.any_storage
def test_old_days_are_dropped_in_one_commit_that_no_consumer_follows(tmp_path: Path) -> None:
    driver = market(tmp_path)
    before = {name: driver.rows(name) for name in MADE}
    heads = head_sequence(driver.lake.table(candle_name("1m")))

    aged = drop(driver, candle_name("1m"), DAYS[2])

    assert (aged.days, aged.rows, aged.files, aged.first_kept) == (
        (DAYS[0], DAYS[1]),
        6,
        2,
        DAYS[2],
    )
    table = driver.lake.table(candle_name("1m"))
    assert head_sequence(table) == heads + 1
    assert changes_since(table, heads) == []
    assert pending_days(driver.lake, "5m") == {}
    assert rows_of(driver, candle_name("1m"), DAYS[2]) == driver.rows(candle_name("1m"))
    assert {n: driver.rows(n) for n in MADE if n != candle_name("1m")} == {
        n: rows for n, rows in before.items() if n != candle_name("1m")
    }
    again = drop(driver, candle_name("1m"), DAYS[2])
    assert (again.days, head_sequence(driver.lake.table(candle_name("1m")))) == ((), heads + 1)


def test_a_dry_run_tells_the_same_and_drops_nothing(tmp_path: Path) -> None:
    driver = market(tmp_path)
    policy, today = Policy({TRADES_TABLE: 1}), DAYS[2] + ONE_DAY
    before = driver.everything()

    [told] = retain(driver.lake, policy, today, [TRADES_TABLE], dry_run=True)

    assert told == next(survey(driver.lake, policy, today, [TRADES_TABLE]))
    assert told.days == (DAYS[0], DAYS[1])
    after = driver.everything()
    [deed] = after.pop("ops.maintenance")
    before.pop("ops.maintenance")
    assert after == before
    assert (deed["action"], deed["dry_run"]) == ("retain", True)
    assert (deed["rows_before"], deed["rows_after"]) == (9, 3)


def test_nothing_is_dropped_by_default_but_old_candles(tmp_path: Path) -> None:
    driver = market(tmp_path)
    today = DAYS[0] + timedelta(days=200)

    aged = {a.table: a for a in retain(driver.lake, Policy(), today, named([]))}

    assert {name for name, a in aged.items() if a.days} == {candle_name("1m"), candle_name("5m")}
    assert (aged[TRADES_TABLE].keep_days, aged[BRONZE].keep_days) == (None, None)
    with pytest.raises(UsageError, match="no days"):
        named(["gold.instruments"])


def test_a_day_that_a_consumer_waits_for_stays(tmp_path: Path) -> None:
    driver = market(tmp_path)
    driver.receive([at(500, 1, 30)])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    merge(driver.lake, driver.engine, Kind.TRADES, DAYS[1])

    aged = drop(driver, TRADES_TABLE, DAYS[2])

    assert (aged.days, aged.first_kept) == ((DAYS[0],), DAYS[1])
    assert aged.waits_for in (candle_name("1m"), GAPS_TABLE)
    driver.candles(DAYS[1])
    driver.gaps(DAYS[1])
    assert drop(driver, TRADES_TABLE, DAYS[2]).days == (DAYS[1],)


def test_progress_is_read_on_from_the_commit_of_retention_alone(tmp_path: Path) -> None:
    driver = market(tmp_path)
    later = ARRIVAL.date() + ONE_DAY
    for name in (BRONZE, SILVER):
        drop(driver, name, later)
        table = driver.lake.table(name)
        old = [s.snapshot_id for s in lineage(table)[1:]]
        table.maintenance.expire_snapshots().by_ids(old).commit()
    driver.receive([at(501, 1, 30)])
    driver.tick()
    assert driver.next_offset() == 10
    assert [t["trade_id"] for t in driver.rows(SILVER)] == ["501"]
    assert len(driver.rows(TRADES_TABLE)) == 10
    assert retained(driver.lake.table(BRONZE)) == Retained(later)


REFUSED = [
    (BRONZE, ARRIVAL.date(), SILVER),
    (SILVER, FIRST, TRADES_TABLE),
    (TRADES_TABLE, FIRST, candle_name("1m")),
    (TRADES_TABLE, FIRST, GAPS_TABLE),
]


@pytest.mark.parametrize(("source", "day", "made"), REFUSED)
def test_a_day_whose_source_was_dropped_is_never_computed_anew(
    tmp_path: Path, source: str, day: date, made: str
) -> None:
    driver = market(tmp_path)
    dropped_before = (ARRIVAL.date() if source in (BRONZE, SILVER) else DAYS[1]) + ONE_DAY
    drop(driver, source, dropped_before)
    before = driver.everything()
    with pytest.raises(DayRetired) as refused:
        compute(driver, made, day)
    for word in (made, str(day), f"{source} keeps days from {dropped_before} on", "materialize"):
        assert word in str(refused.value)
    assert driver.everything() == before
    assert "retired" in check(driver, made, day)


def compute(driver: LakeDriver, made: str, day: date) -> StepResult | None:
    if made == SILVER:
        return refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), day)
    if made == TRADES_TABLE:
        return merge(driver.lake, driver.engine, Kind.TRADES, day, recompute=True)
    if made == GAPS_TABLE:
        return driver.gaps(day, recompute=True)
    timeframe = made.removeprefix("gold.ohlcv_")
    return build_candles(driver.lake, driver.engine, timeframe, day, recompute=True)


def check(driver: LakeDriver, made: str, day: date) -> str:
    """What the check of that day says; gaps have none."""
    scope = Scope(made, day, None)
    if made == GAPS_TABLE:
        return "retired"
    if made == SILVER:
        verdict = silver_reconciled(driver.lake, driver.engine, scope, "binance", Kind.TRADES)
    elif made == TRADES_TABLE:
        verdict = gold_reconciled(driver.lake, driver.engine, scope, Kind.TRADES)
    elif made == candle_name("1m"):
        verdict = minutes_reconciled(driver.lake, driver.engine, scope)
    else:
        verdict = rollup_reconciled(driver.lake, driver.engine, day, made[-2:])
    assert verdict.agrees
    return " ".join(verdict.figures)


def test_coarse_candles_take_a_late_trade_from_the_trades_where_the_minutes_are_gone(
    tmp_path: Path,
) -> None:
    driver, whole = market(tmp_path / "a"), market(tmp_path / "b")
    for name in ("1m", "5m"):
        drop(driver, candle_name(name), DAYS[1])
    for each in (driver, whole):
        each.receive([at(1, 0, 2, "77")])
        each.tick()

    assert rows_of(driver, candle_name("1m"), FIRST) == []
    assert rows_of(driver, candle_name("5m"), FIRST) == []
    for name in ("30m", "1h", "1d"):
        rows = rows_of(driver, candle_name(name), FIRST)
        assert rows == rows_of(whole, candle_name(name), FIRST)
        assert rows[0]["high"] == 77
        assert pending_days(driver.lake, name) == {}
    assert "retired" in check(driver, candle_name("1h"), FIRST)

    # Asked for, the day is made whole again, and held from then on.
    driver.candles(FIRST, recompute=True)
    assert rows_of(driver, candle_name("1m"), FIRST) == rows_of(whole, candle_name("1m"), FIRST)
    assert retained(driver.lake.table(candle_name("1m"))) == Retained(DAYS[1], frozenset({FIRST}))
    assert "retired" not in check(driver, candle_name("1h"), FIRST)


def test_where_trades_are_gone_too_the_day_stays_as_it_was_and_says_so(tmp_path: Path) -> None:
    driver = market(tmp_path)
    drop(driver, candle_name("1m"), DAYS[1])
    drop(driver, TRADES_TABLE, DAYS[1])
    before = {name: rows_of(driver, name, FIRST) for name in MADE}
    driver.receive([at(1, 0, 2, "77"), at(3, 0, 2, "77")])
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())

    result = merge(driver.lake, driver.engine, Kind.TRADES, FIRST)
    driver.candles(FIRST)

    assert (result.changed, result.figures["beyond_retention"]) == (False, 2)
    assert gold_pending(driver.lake, Kind.TRADES) == {}
    assert {name: rows_of(driver, name, FIRST) for name in MADE} == before
    with pytest.raises(DayRetired, match=r"gold.ohlcv_1m keeps .* gold.trades keeps"):
        build_candles(driver.lake, driver.engine, "5m", FIRST, recompute=True)

    # Silver has it all still: so gold can be had again, and then the candles.
    merge(driver.lake, driver.engine, Kind.TRADES, FIRST, recompute=True)
    driver.candles(FIRST, recompute=True)
    assert rows_of(driver, candle_name("1d"), FIRST)[0]["trade_count"] == 5


def test_silver_computed_anew_does_not_cut_a_day_of_gold_whose_first_arrivals_are_gone(
    tmp_path: Path,
) -> None:
    driver = market(tmp_path)
    drop(driver, SILVER, ARRIVAL.date() + ONE_DAY)
    later = ARRIVAL + ONE_DAY
    driver.receive_frames(prints_table([at(1, 0, 2, "77")], driver.next_offset(), arrived=later))
    driver.tick()
    before = rows_of(driver, TRADES_TABLE, FIRST)
    assert len(before) == 4

    refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), later.date())
    result = merge(driver.lake, driver.engine, Kind.TRADES, FIRST)

    assert (result.changed, result.figures["beyond_retention"]) == (False, 1)
    assert rows_of(driver, TRADES_TABLE, FIRST) == before


def test_an_open_gap_whose_neighbour_was_dropped_stays_on_record(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for day, ids in ((0, [1, 2]), (1, [9, 10])):
        driver.receive([at(i, day, i) for i in ids])
        driver.tick()
    [gap] = recorded_gaps(driver.lake, driver.engine)
    drop(driver, TRADES_TABLE, DAYS[1])

    driver.gaps(DAYS[1], recompute=True)
    driver.receive([at(11, 1, 12)])
    driver.tick()

    assert recorded_gaps(driver.lake, driver.engine, EqualTo("state", "open")) == [gap]


trades = st.builds(
    at,
    trade_id=st.integers(1, 60),
    day=st.just(0),
    minute=st.just(0),
    price=st.integers(1, 99).map(str),
)


def _placed(p: Print) -> Print:
    """Time and content belong to the id: a repeat says the same again."""
    return at(p.trade_id, p.trade_id % 3, 7 * p.trade_id, str(p.trade_id))


steps = st.one_of(
    st.lists(trades.map(_placed), min_size=1, max_size=8),
    st.tuples(st.sampled_from(MADE), st.sampled_from(DAYS[1:])),
    st.tuples(st.sampled_from(MADE), st.sampled_from(DAYS), st.just("recompute")),
)


@pytest.mark.timeout(300)
@settings(max_examples=5, deadline=None)
@given(st.lists(trades.map(_placed), min_size=5, max_size=10), st.lists(steps, max_size=4))
def test_a_candle_that_is_kept_is_that_of_a_lake_that_drops_nothing_or_was_reported(
    first: list[Print], then: list[object]
) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        driver, whole = LakeDriver(Path(one)), LakeDriver(Path(other))
        reported: set[tuple[str, date]] = set()
        before = complete = _state(driver)
        for step in (first, *then):
            refused = None
            match step:
                case (str(table), date() as day, "recompute"):
                    refused = _asked_for(driver, table, day)
                case (str(table), date() as day):
                    drop(driver, table, day)
                case list(prints):
                    whole.receive(prints)
                    list(_ticked(whole))
                    complete = _state(whole)
                    driver.receive(prints)
            reported |= set(_ticked(driver))
            now = _state(driver)
            for name, day in now:
                if not retained(driver.lake.table(name)).holds(day):
                    assert now[name, day] == []
                elif now[name, day] != complete[name, day]:
                    assert (name, day) in reported
                    assert now[name, day] == before[name, day]
            assert refused is None or now[refused] == before[refused]
            before = now


def _asked_for(driver: LakeDriver, table: str, day: date) -> tuple[str, date] | None:
    """The table and day, if it could not be computed anew."""
    try:
        compute(driver, table, day)
    except DayRetired:
        return table, day
    return None


def _state(driver: LakeDriver) -> dict[tuple[str, date], list[dict[str, object]]]:
    found: dict[tuple[str, date], list[dict[str, object]]]
    found = {(name, day): [] for name in MADE for day in DAYS}
    for name in MADE:
        for row in driver.rows(name):
            day = row["trade_date" if name == TRADES_TABLE else "window_date"]
            assert isinstance(day, date)
            found[name, day].append(row)
    return found


def _ticked(driver: LakeDriver) -> Iterator[tuple[str, date]]:
    """Everything brought up to date; the tables and days that were left as they were."""
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    for day in sorted(gold_pending(driver.lake, Kind.TRADES)):
        result = merge(driver.lake, driver.engine, Kind.TRADES, day)
        if "beyond_retention" in result.figures:
            yield from ((name, day) for name in MADE)
    for name in TIMEFRAMES:
        for day in sorted(pending_days(driver.lake, name)):
            result = build_candles(driver.lake, driver.engine, name, day)
            if "beyond_retention" in result.figures:
                yield candle_name(name), day


def test_a_commit_of_retention_names_its_mode_and_days(tmp_path: Path) -> None:
    driver = market(tmp_path)
    drop(driver, TRADES_TABLE, DAYS[1])
    head = lineage(driver.lake.table(TRADES_TABLE))[0]
    assert head.summary is not None
    assert head.summary.additional_properties["k2.mode"] == Mode.RETENTION
    assert head.summary.additional_properties["k2.days"] == f'["{FIRST}"]'
    assert consumed(driver.lake.table(TRADES_TABLE))[SILVER].through > 0
