"""Silver tells every frame once: as trades, as rejected rows or in a count, whatever is killed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from k2_feeds.parsing.frames import Parsed
from k2_lake import silver
from k2_lake.commit import commit as real_commit
from k2_lake.history import Mode, consumed, lineage
from k2_lake.silver import refine, refine_day
from k2_lake.tables import REJECTED_TABLE, name_of
from k2_market.errors import CommitConflict, InvariantBroken
from k2_market.kinds import Kind
from tests.frames import ARRIVAL, DAY0, Print, frame_table, prints_table
from tests.lakes import LakeDriver, parser

SILVER = "silver.binance_trades"
GOOD = [Print(n, n * 1000, "10", "1") for n in range(4)]
ACK = b'{"result":null,"id":1}'
BROKEN = b'{"stream":"btcusdt@trade","data":{"e":"trade"'
NEGATIVE = Print(90, 5000, "-1", "1").binance()


class Killed(Exception):
    """What stands for the end of the process."""


def mixed(first_offset: int = 0) -> pa.Table:
    """Six frames: three trades, two to reject and one acknowledgement."""
    payloads = [p.binance() for p in GOOD[:3]]
    return frame_table(
        [(p, GOOD[-1].received_us) for p in (*payloads, BROKEN, NEGATIVE, ACK)], first_offset
    )


def rejected_offsets(driver: LakeDriver) -> list[object]:
    return [r["kafka_offset"] for r in driver.rows(REJECTED_TABLE)]


def told(driver: LakeDriver) -> list[object]:
    rows = [*driver.rows(SILVER), *driver.rows(REJECTED_TABLE)]
    return sorted((r["epoch"], r["kafka_offset"], r["frame_index"]) for r in rows)  # type: ignore[type-var]


def run(driver: LakeDriver) -> dict[str, int]:
    return dict(refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser()).figures)


def kill_before(monkeypatch: pytest.MonkeyPatch, table: str, times: int = 1) -> None:
    """The process ends when it is about to commit to ``table``."""
    left = [times]

    def commit(to: Any, **what: Any) -> object:
        if name_of(to) == table and left[0]:
            left[0] -= 1
            raise Killed
        return real_commit(to, **what)

    monkeypatch.setattr(silver, "commit", commit)


def test_every_frame_is_counted_as_what_it_is_and_bad_ones_keep_their_coordinates(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive_frames(mixed())
    assert run(driver) == {"frames": 6, "trades": 3, "rejected": 2, "control": 1, "other": 0}
    assert [(r["kafka_offset"], r["payload"]) for r in driver.rows(REJECTED_TABLE)] == [
        (3, BROKEN),
        (4, NEGATIVE),
    ]
    assert run(driver) == dict.fromkeys(["frames", "trades", "rejected", "control", "other"], 0)
    assert len(lineage(driver.lake.table(SILVER))) == 1


@pytest.mark.parametrize("table", [REJECTED_TABLE, SILVER])
@pytest.mark.any_storage
def test_a_run_killed_before_either_commit_is_made_up_for_exactly_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive_frames(mixed())
    kill_before(monkeypatch, table)
    with pytest.raises(Killed):
        run(driver)
    assert driver.rows(SILVER) == []
    driver.receive_frames(mixed(6))
    assert run(driver)["frames"] == 12
    assert rejected_offsets(driver) == [3, 4, 9, 10]
    assert [r["kafka_offset"] for r in driver.rows(SILVER)] == [0, 6, 1, 7, 2, 8]


def test_a_run_killed_between_groups_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silver, "FRAMES_PER_COMMIT", 12)
    driver = LakeDriver(tmp_path)
    for n in range(5):
        driver.receive_frames(mixed(6 * n))
    whole = LakeDriver(tmp_path / "whole")
    for n in range(5):
        whole.receive_frames(mixed(6 * n))
    assert run(whole)["frames"] == 30
    assert len(lineage(whole.lake.table(SILVER))) == 3
    done = []

    def commit(to: Any, **what: Any) -> object:
        if name_of(to) == SILVER and len(done) == 1:
            done.append("killed")
            raise Killed
        snapshot = real_commit(to, **what)
        done.append(name_of(to)) if name_of(to) == SILVER else None
        return snapshot

    monkeypatch.setattr(silver, "commit", commit)
    with pytest.raises(Killed):
        run(driver)
    assert run(driver)["frames"] == 18
    assert driver.everything() == whole.everything()


def test_a_day_parsed_anew_replaces_its_rows_with_those_of_the_corrected_parser(
    tmp_path: Path,
) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive_frames(prints_table(GOOD[3:], 0, arrived=ARRIVAL - timedelta(days=1)))
    driver.receive_frames(mixed(1))
    driver.receive_frames(prints_table([Print(70, 0, "5", "1")], 7))
    run(driver)
    before = told(driver)

    def corrected(frames: pa.Table) -> Parsed:
        found = parser()(frames)
        assert isinstance(found, Parsed)
        prices = pa.array([Decimal(7)] * found.rows.num_rows, found.rows["price"].type)
        at = found.rows.schema.get_field_index("price")
        trades = found.rows.set_column(at, found.rows.schema.field("price"), prices)
        return replace(found, rows=trades)

    result = refine_day(
        driver.lake, driver.engine, "binance", Kind.TRADES, corrected, ARRIVAL.date()
    )
    assert result.figures == {"frames": 7, "trades": 4, "rejected": 2, "control": 1, "other": 0}
    assert told(driver) == before
    assert {(r["trade_id"], r["price"]) for r in driver.rows(SILVER)} == {
        ("3", 10),
        *((n, 7) for n in ("0", "1", "2", "70")),
    }
    [head, *_] = lineage(driver.lake.table(SILVER))
    assert head.summary is not None
    assert head.summary.additional_properties["k2.mode"] == Mode.RECOMPUTE
    assert head.summary.additional_properties["k2.days"] == f'["{DAY0.date()}"]'


def test_a_frame_that_the_parser_loses_fails_the_run_and_commits_nothing(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive_frames(mixed())

    def losing(frames: pa.Table) -> Parsed:
        found = parser()(frames)
        assert isinstance(found, Parsed)
        return replace(found, rows=found.rows[1:])

    with pytest.raises(InvariantBroken, match="6 frames were parsed, but 4 gave rows, 1 were con"):
        refine(driver.lake, driver.engine, "binance", Kind.TRADES, losing)
    assert (driver.rows(SILVER), driver.rows(REJECTED_TABLE)) == ([], [])
    assert run(driver)["frames"] == 6


@pytest.mark.any_storage
def test_two_runs_over_the_same_frames_reject_each_row_once(tmp_path: Path) -> None:
    """The other run comes while ours has parsed and not yet committed."""
    driver = LakeDriver(tmp_path)
    driver.receive_frames(mixed())
    calls = []

    def overtaken(frames: pa.Table) -> Parsed:
        calls.append(frames.num_rows)
        if len(calls) == 1:
            driver.receive_frames(mixed(6))
            run(driver)
        return parser()(frames)

    refine(driver.lake, driver.engine, "binance", Kind.TRADES, overtaken)
    assert calls == [6]
    assert rejected_offsets(driver) == [3, 4, 9, 10]
    assert len(driver.rows(SILVER)) == 6


def test_a_day_is_not_replaced_over_rejected_rows_of_frames_it_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick was killed, or is about to commit, after it noted the rows of newer frames."""
    driver = LakeDriver(tmp_path)
    driver.receive_frames(mixed())
    run(driver)
    driver.receive_frames(mixed(6))
    kill_before(monkeypatch, SILVER)
    with pytest.raises(Killed):
        run(driver)
    monkeypatch.setattr("k2_lake.commit.time.sleep", lambda _: None)
    day = ARRIVAL.date()
    with pytest.raises(CommitConflict, match="another run is parsing the same frames"):
        silver._replace_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), day)
    assert rejected_offsets(driver) == [3, 4, 9, 10]
    refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), ARRIVAL.date())
    assert rejected_offsets(driver) == [3, 4, 9, 10]
    assert len(driver.rows(SILVER)) == 6


def test_rejected_rows_of_exchanges_stay_apart(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    for exchange in ("binance", "binance_usdm"):
        frames = frame_table([(BROKEN, 1), (ACK, 1)], exchange=exchange)
        driver.receive_frames(frames, exchange)
        refine(driver.lake, driver.engine, exchange, Kind.TRADES, parser(exchange))
    progress = consumed(driver.lake.table(REJECTED_TABLE))
    assert {k: v.through for k, v in progress.items()} == {
        "bronze.binance_trades": 1,
        "bronze.binance_usdm_trades": 1,
    }
    refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parser(), ARRIVAL.date())
    assert [r["exchange"] for r in driver.rows(REJECTED_TABLE)] == ["binance", "binance_usdm"]
