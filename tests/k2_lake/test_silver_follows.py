"""Silver is what the parser makes of bronze, whatever became of bronze and whatever is killed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyiceberg.expressions import In

from k2_lake import silver
from k2_lake.commit import commit as real_commit
from k2_lake.gold import pending_days
from k2_lake.history import KAFKA, Mode, head_sequence, lineage, summary_value
from k2_lake.quality.audit import offsets_contiguous, offsets_recorded, silver_reconciled
from k2_lake.scan import planned
from k2_lake.scope import Scope
from k2_lake.silver import refine, refine_day
from k2_lake.tables import REJECTED_TABLE, TRADES_TABLE, candle_name
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME
from tests.frames import ARRIVAL, DAY0, Print, bronze_rows, frame_table, micros, prints_table
from tests.lakes import LakeDriver, parser

BRONZE, SILVER = "bronze.binance_trades", "silver.binance_trades"
DAYS = [(ARRIVAL + timedelta(days=n)).date() for n in range(3)]
BROKEN = b'{"stream":"btcusdt@trade","data":{"e":"trade"'
ACK = b'{"result":null,"id":1}'
DAY = 86_400_000
RECEIVED = micros(ARRIVAL)


class Killed(Exception):
    """What stands for the end of the process."""


def held(driver: LakeDriver, snapshot_id: int | None = None) -> pa.Table:
    """What bronze holds, now or at a snapshot, in order."""
    files = planned(driver.lake.table(BRONZE), RAW_FRAME.schema, snapshot_id=snapshot_id)
    order = ", ".join(RAW_FRAME.order)
    return driver.engine.query(f"select * from f order by {order}", {"f": files}, RAW_FRAME.schema)


def of_days(rows: pa.Table, days: Sequence[date]) -> pa.Table:
    return rows.filter(pa.array([d in days for d in rows["ingest_date"].to_pylist()], pa.bool_()))


def replace(driver: LakeDriver, days: Sequence[date], rows: pa.Table, kafka: str | None) -> None:
    """Bronze's days hold these rows instead, in one commit."""
    table = driver.lake.table(BRONZE)
    real_commit(
        table,
        add=[of_days(rows, [day]) for day in days],
        remove=planned(table, RAW_FRAME.schema, In("ingest_date", days)).files,
        mode=Mode.RECOMPUTE,
        days=days,
        extra={KAFKA: str(kafka)},
    )


def roll_back(driver: LakeDriver, to: int) -> None:
    """As of a snapshot before: its rows, its offsets, as a recompute of the days that differ."""
    table = driver.lake.table(BRONZE)
    now, then = held(driver), held(driver, lineage(table)[to].snapshot_id)
    days = [d for d in DAYS if not of_days(now, [d]).equals(of_days(then, [d]))]
    sequence = lineage(table)[to].sequence_number
    if days:
        replace(driver, days, then, summary_value(table, KAFKA, sequence))


def expected(driver: LakeDriver) -> list[Any]:
    """Every row that parsing all that bronze holds gives, good and rejected."""
    parsed = parser()(held(driver))
    return [_sorted(parsed.rows.to_pylist()), _sorted(parsed.rejected.to_pylist())]


def found(driver: LakeDriver) -> list[Any]:
    return [_sorted(driver.rows(SILVER)), _sorted(driver.rows(REJECTED_TABLE))]


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda r: (r["epoch"], r["kafka_offset"], r["frame_index"]))


def run(driver: LakeDriver) -> dict[str, int]:
    return dict(refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser()).figures)


@contextmanager
def killed_before(commits: int) -> Iterator[None]:
    """The process ends when it is about to make its n-th commit."""
    left = [commits]

    def commit(*args: Any, **what: Any) -> object:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real_commit(*args, **what)

    with patch.object(silver, "commit", commit), suppress(Killed):
        yield


payloads = st.one_of(
    st.builds(
        lambda n, day: Print(n, n * 1000 + day * DAY, str(n), "1").binance(),
        st.integers(1, 30),
        st.integers(0, 2),
    ),
    st.sampled_from([BROKEN, ACK]),
)
arrivals = st.tuples(
    st.just("append"), st.lists(st.tuples(payloads, st.integers(0, 2)), max_size=3)
)
replacements = st.tuples(
    st.just("replace"), st.sets(st.integers(0, 2), min_size=1), st.lists(payloads, max_size=4)
)
events = st.one_of(
    arrivals,
    arrivals,
    replacements,
    st.tuples(st.just("roll back"), st.integers(1, 4)),
    st.tuples(st.just("tick"), st.integers(0, 4)),
    st.tuples(st.just("recompute"), st.integers(0, 2), st.integers(0, 3)),
)


def happen(driver: LakeDriver, event: tuple[Any, ...]) -> None:
    match event:
        case ("append", frames):
            for payload, day in frames:
                arrived = ARRIVAL + timedelta(days=day)
                at = driver.next_offset()
                driver.receive_frames(frame_table([(payload, RECEIVED)], at, arrived=arrived))
        case ("replace", which, contents):
            _replace_contents(driver, [DAYS[n] for n in sorted(which)], contents)
        case ("roll back", to):
            if to < len(lineage(driver.lake.table(BRONZE))):
                roll_back(driver, to)
        case ("tick", commits):
            with killed_before(commits):
                run(driver)
        case ("recompute", day, commits):
            with killed_before(commits):
                refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), DAYS[day])


def _replace_contents(driver: LakeDriver, days: list[date], contents: list[bytes]) -> None:
    """Other bytes at the same offsets, and none where there are not enough."""
    rows = held(driver)
    table = driver.lake.table(BRONZE)
    old = of_days(rows, days)
    new = old.slice(0, len(contents))
    column = rows.schema.get_field_index("payload")
    new = new.set_column(
        column, rows.schema.field(column), pa.array(contents[: len(new)], pa.binary())
    )
    if old.num_rows:
        replace(driver, days, new, summary_value(table, KAFKA))


@pytest.mark.timeout(300)
# Shrinking takes minutes, and a history of ten events is read as it is.
@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(events, min_size=3, max_size=10), st.sampled_from([1, silver.FRAMES_PER_COMMIT]))
def test_silver_is_the_parse_of_bronze_after_any_appends_replacements_rollbacks_and_kills(
    history: list[tuple[Any, ...]], in_memory: int
) -> None:
    at_once = patch.object(silver, "FRAMES_PER_COMMIT", in_memory)
    with TemporaryDirectory() as home, at_once:
        driver = LakeDriver(Path(home))
        for event in history:
            happen(driver, event)
        run(driver)
        assert found(driver) == expected(driver)
        assert run(driver)["frames"] == 0


@pytest.mark.parametrize("commits", [1, 2])
def test_a_replaced_day_is_followed_to_the_candles_wherever_the_run_was_killed(
    tmp_path: Path, commits: int
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(n, n * 60_000, "10", "1") for n in range(3)])
    driver.receive_frames(frame_table([(BROKEN, RECEIVED), (ACK, RECEIVED)], 3))
    driver.tick()
    rows = held(driver)
    offsets = summary_value(driver.lake.table(BRONZE), KAFKA)
    other = [Print(n, n * 60_000 + n * DAY, "11", "1").binance() for n in range(3)]
    new = bronze_rows(frame_table([(p, RECEIVED) for p in (*other, BROKEN, BROKEN)]))
    replace(driver, [ARRIVAL.date()], new, offsets)
    driver.receive_frames(prints_table([Print(7, 0, "12", "1")], 5))
    with killed_before(commits):
        run(driver)
    driver.tick()
    assert found(driver) == expected(driver)
    assert len(driver.rows(REJECTED_TABLE)) == 2
    trades = [(t["trade_id"], t["price"]) for t in driver.rows(TRADES_TABLE)]
    assert trades == [("0", 11), ("1", 11), ("2", 11), ("7", 12)]
    days = [(c["window_date"] - DAY0.date()).days for c in driver.rows(candle_name("1d"))]  # type: ignore[operator]
    assert days == [0, 1, 2]
    assert rows.num_rows == 5
    assert pending_days(driver.lake, Kind.TRADES) == {}


def test_a_rollback_takes_back_what_silver_had_and_the_frames_come_again_once(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    seen = {n: head_sequence(driver.lake.table(n)) for n in (BRONZE, SILVER)}
    driver.receive([Print(2, 60_000, "10", "1")])
    driver.tick()
    roll_back(driver, 1)
    assert driver.next_offset() == 1
    driver.tick()
    assert [r["trade_id"] for r in driver.rows(TRADES_TABLE)] == ["1"]
    driver.receive([Print(2, 60_000, "10", "1")])
    driver.tick()
    assert found(driver) == expected(driver)
    assert [c["trade_count"] for c in driver.rows(candle_name("1d"))] == [2]
    lake, engine = driver.lake, driver.engine
    verdicts = [
        offsets_contiguous(lake, engine, Scope(BRONZE, ARRIVAL.date(), seen[BRONZE])),
        offsets_recorded(lake, engine, Scope(BRONZE, ARRIVAL.date(), seen[BRONZE])),
        silver_reconciled(
            lake, engine, Scope(SILVER, ARRIVAL.date(), seen[SILVER]), "binance", Kind.TRADES
        ),
    ]
    assert [v.agrees for v in verdicts] == [True] * 3, verdicts


def test_a_tick_of_frames_without_any_good_row_is_accounted_for(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    seen = Scope(SILVER, ARRIVAL.date(), head_sequence(driver.lake.table(SILVER)))
    driver.receive_frames(frame_table([(BROKEN, RECEIVED), (ACK, RECEIVED)], 1))
    driver.tick()
    verdict = silver_reconciled(driver.lake, driver.engine, seen, "binance", Kind.TRADES)
    assert verdict.agrees
    assert (verdict.figures["rejected"], verdict.figures["control"]) == (1, 1)
