"""Work is done part by part by Spark's workers, and what K2 raises there comes back as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from k2_lake.engine import Engine
from k2_lake.spark.settings import SparkSettings
from k2_market.errors import LakeUnavailable, OffsetHole, UnknownName
from tests.lakes import LakeDriver
from tests.spark import on_spark

pytestmark = pytest.mark.spark


@pytest.fixture
def engine(tmp_path: Path, spark_settings: SparkSettings) -> Engine:
    return on_spark(LakeDriver(tmp_path), spark_settings).engine


def squared(engine: Engine, part: int) -> tuple[int, int, str]:
    """A statement runs where the part is worked on."""
    found = engine.query(f"select {part} * {part} as n", {}).to_pylist()[0]["n"]
    return found, os.getpid(), engine.name


def wrong_from_two_on(of: Engine, part: int) -> int:
    if part >= 2:
        raise OffsetHole(f"part {part}")
    return part


def unknown(of: Engine, part: int) -> int:
    raise UnknownName("symbol", "XYZ", ["ABC"])


def defect(of: Engine, part: int) -> int:
    raise ZeroDivisionError("a defect of the work")


def test_each_part_is_a_task_whose_results_come_back_in_order(engine: Engine) -> None:
    found = engine.each(squared, range(5))
    assert [n for n, _, _ in found] == [0, 1, 4, 9, 16]
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert {name for _, _, name in found} == {"duckdb"}
    assert engine.each(squared, []) == []


@pytest.mark.parametrize(
    ("work", "kind", "told"),
    [
        (wrong_from_two_on, OffsetHole, "^part 2$"),
        (unknown, UnknownName, "^unknown symbol 'XYZ'. Known: ABC.$"),
        (defect, LakeUnavailable, "ZeroDivisionError: a defect of the work"),
    ],
)
def test_what_a_part_raises_is_raised_here(
    engine: Engine, work: Callable[[Engine, int], int], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        engine.each(work, range(4))
