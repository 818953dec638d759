"""Silver whose frames Spark's workers parse and write is the silver that one machine makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from k2_feeds.tapes import read_tape
from k2_lake import silver
from k2_lake.history import head_sequence, lineage
from k2_lake.scan import planned
from k2_lake.silver import refine, refine_day
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import REJECTED_TABLE, bronze_name, silver_name
from k2_market.errors import FileBroken, InvariantBroken, LakeUnavailable
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME
from tests.frames import ARRIVAL, Print, frame_table
from tests.k2_lake.test_silver_follows import (
    ACK,
    BROKEN,
    DAYS,
    RECEIVED,
    events,
    expected,
    found,
    happen,
)
from tests.lakes import LakeDriver, parser
from tests.spark import on_spark

pytestmark = pytest.mark.spark
SILVER = "silver.binance_trades"
# The frames of Kraken bear times of 2026.
LATER = RECEIVED + 31_536_000_000_000


@contextmanager
def in_parts_of(frames: int) -> Iterator[None]:
    """What is more than so many frames is parsed in parts, by those who have workers there."""
    with patch.object(silver, "FRAMES_PER_COMMIT", frames):
        yield


def told(driver: LakeDriver, exchange: str = "binance") -> list[Any]:
    """All rows of both tables, and what the newest commit of each says of itself."""
    names = silver_name(exchange, driver.kind), REJECTED_TABLE
    heads = [s.summary for name in names for s in lineage(driver.lake.table(name))[:1]]
    said = [
        {k: head.additional_properties.get(k) for k in ("k2.mode", "k2.days", "k2.sources")}
        for head in heads
        if head is not None
    ]
    return [*map(driver.rows, names), said]


def recorded(shared_data: Path, exchange: str) -> list[tuple[bytes, int]]:
    named = {
        "kraken": ("kraken_v2/real_frames.jsonl", "kraken_v2/doc_and_malformed_frames.jsonl"),
        "binance_usdm": ("binance_usdm/usdm_btcusdt_20240808.gz",),
    }
    tapes = (read_tape(shared_data / name, LATER) for name in named[exchange])
    frames = chain.from_iterable(chain.from_iterable(tapes))
    return [(f.payload, f.received_at_us) for f in islice(frames, 600)]


@pytest.mark.data
@pytest.mark.parametrize(
    ("exchange", "kind"),
    [("kraken", Kind.TRADES), ("binance_usdm", Kind.TRADES), ("binance_usdm", Kind.QUOTES)],
)
def test_recorded_frames_parsed_by_workers_are_the_rows_of_one_machine(
    tmp_path: Path, shared_data: Path, spark_settings: SparkSettings, exchange: str, kind: Kind
) -> None:
    frames = recorded(shared_data, exchange)
    table = frame_table(frames, exchange=exchange, kind=kind)
    one, many = (LakeDriver(tmp_path / name, kind=kind) for name in ("one", "many"))
    for driver in (one, many):
        for start in range(0, len(frames), len(frames) // 3):
            driver.receive_frames(table.slice(start, len(frames) // 3), exchange)
    on_spark(many, spark_settings)
    arguments = exchange, kind, parser(exchange, kind)
    alone = refine(one.lake, one.engine, *arguments)
    with in_parts_of(len(frames) // 3):
        spread = refine(many.lake, many.engine, *arguments)
        assert spread.figures == alone.figures
        assert told(many, exchange) == told(one, exchange)
        assert not refine(many.lake, many.engine, *arguments).changed
        again = refine_day(many.lake, many.engine, *arguments, ARRIVAL.date())
    assert again.figures == alone.figures
    refine_day(one.lake, one.engine, *arguments, ARRIVAL.date())
    assert told(many, exchange) == told(one, exchange)
    assert all(again.figures[name] for name in ("frames", str(kind)))


@settings(max_examples=3, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(history=st.lists(events, min_size=3, max_size=6), first=st.integers(0, 1))
def test_engines_that_take_turns_follow_bronze_whatever_became_of_it(
    spark_settings: SparkSettings, history: list[tuple[Any, ...]], first: int
) -> None:
    with TemporaryDirectory() as home, in_parts_of(1):
        alone = LakeDriver(Path(home))
        spread = on_spark(LakeDriver(Path(home)), spark_settings)
        for turn, event in enumerate(history, first):
            happen(spread if turn % 2 else alone, event)
        refine(spread.lake, spread.engine, "binance", Kind.TRADES, parser())
        assert found(alone) == expected(alone)
        before = [head_sequence(alone.lake.table(n)) for n in (SILVER, REJECTED_TABLE)]
        for driver in (alone, spread):
            assert not refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser()).changed
        assert [head_sequence(alone.lake.table(n)) for n in (SILVER, REJECTED_TABLE)] == before


def arrivals(driver: LakeDriver) -> LakeDriver:
    """Three commits of bronze: trades, one of them below zero, a cut one, an acknowledgement."""
    for n in range(3):
        good = [Print(10 * n + i, i * 1000, "10", "1").binance() for i in range(3)]
        refused = Print(10 * n + 9, 5000, "-1", "1").binance()
        payloads = [(p, RECEIVED) for p in (*good, refused, BROKEN, ACK)]
        driver.receive_frames(frame_table(payloads, 6 * n, arrived=ARRIVAL))
    return driver


def days_parsed_anew(driver: LakeDriver, parse: Any) -> None:
    with in_parts_of(6):
        refine_day(driver.lake, driver.engine, "binance", Kind.TRADES, parse, DAYS[0])


def test_a_file_that_a_worker_cannot_read_is_named_as_on_one_machine(
    tmp_path: Path, spark_settings: SparkSettings
) -> None:
    driver = arrivals(LakeDriver(tmp_path))
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    files = planned(driver.lake.table(bronze_name("binance", Kind.TRADES)), RAW_FRAME.schema)
    path = Path(files.paths[1].removeprefix("file://"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    said = []
    for engine in (driver.engine, on_spark(LakeDriver(tmp_path), spark_settings).engine):
        driver.engine = engine
        with pytest.raises(FileBroken, match=path.name) as raised:
            days_parsed_anew(driver, parser())
        said.append(str(raised.value))
    assert said[0] == said[1]
    path.write_bytes(whole)
    assert found(driver) == expected(driver)
    days_parsed_anew(driver, parser())
    assert found(driver) == expected(driver)


def test_a_parser_that_loses_a_frame_or_breaks_commits_nothing(
    tmp_path: Path, spark_settings: SparkSettings
) -> None:
    driver = on_spark(arrivals(LakeDriver(tmp_path)), spark_settings)
    with pytest.raises(InvariantBroken, match="6 frames were parsed, but 4 gave rows, 1 were con"):
        days_parsed_anew(driver, partial(_less, 1))
    with pytest.raises(LakeUnavailable, match="ZeroDivisionError"):
        days_parsed_anew(driver, partial(_less, 0))
    assert found(driver) == [[], []]


def _less(divided_by: int, frames: pa.Table) -> object:
    return parser()(frames.slice(1 // divided_by))


def test_so_many_changes_make_a_commit_as_the_engine_takes_parts_at_once(
    tmp_path: Path, spark_settings: SparkSettings
) -> None:
    commits: Sequence[int]
    driver = arrivals(LakeDriver(tmp_path))
    other = on_spark(arrivals(LakeDriver(tmp_path / "other")), spark_settings)
    with in_parts_of(6):
        for each in (driver, other):
            figures = refine(each.lake, each.engine, "binance", Kind.TRADES, parser()).figures
            assert figures == {"frames": 18, "trades": 9, "rejected": 6, "control": 3, "other": 0}
    commits = [len(lineage(d.lake.table(SILVER))) for d in (driver, other)]
    assert commits == [3, 1]
    assert found(driver) == found(other) == expected(driver)
