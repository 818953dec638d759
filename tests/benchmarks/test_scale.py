"""The scale benchmark compares both engines and says how it came to its arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.scale import __main__ as scale
from benchmarks.scale.days import CORES, Day, Limits, measured
from benchmarks.scale.page import PAGE, Basis, arithmetic, write
from k2_lake.spark.settings import SparkSettings

BASIS = Basis(
    10**8, 10**8, gold=50_000, minutes=400_000, coarser=5e6, trade_bytes=40, rows_a_file=10**6
)


def day(trades: int, slower: float = 1) -> Day:
    took = {"gold": 4.0, "1m": 1.0, "5m to 1d": 0.5}
    seconds = {("spark", step): trades / 1e6 * s * slower for step, s in took.items()}
    return Day(trades, seconds, files=trades // 10**6, bytes=40 * trades)


def test_the_cost_of_a_trade_is_compared_with_that_in_a_smaller_day() -> None:
    found = {f.name: f for f in scale.figures([day(10**7), day(10**8, slower=2)])}
    assert found["gold on spark, 10,000,000"].value == 250_000 / CORES
    grown = found["cost of a trade, gold on spark, 100,000,000 / 10,000,000"]
    assert (grown.value, grown.reached) == (2, False)
    assert "cost of a trade, 5m to 1d on spark, 100,000,000 / 10,000,000" not in found
    base = scale.basis([day(10**7), day(10**8)])
    assert (base.trade_bytes, base.rows_a_file) == (40, 10**6)


def test_the_arithmetic_shows_its_steps(tmp_path: Path) -> None:
    lines = arithmetic(BASIS).splitlines()
    assert (
        "| data files of gold.trades | 10,000,000,000 / 1,000,000 trades | 10,000 of 40 MB |"
        in lines
    )
    assert "| core hours, gold.trades | 10,000,000,000 / 50,000 / 3,600 | 55.6 |" in lines
    assert "| core hours, gold.ohlcv_1m | 10,000,000,000 / 400,000 / 3,600 | 6.9 |" in lines
    assert "| cores for one in the night's four hours | 63.1 / 4 | 16 |" in lines
    page = tmp_path / "scale.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    write(BASIS, page)
    write(BASIS, page)
    assert page.read_text(encoding="utf-8").count(arithmetic(BASIS)) == 1


@pytest.mark.spark
def test_a_tiny_day_is_the_same_on_both_engines(
    tmp_path: Path, spark_settings: SparkSettings
) -> None:
    found = measured(2_000, tmp_path, spark_settings, Limits(2_000, 2_000), lambda _: None)
    assert set(found.seconds) == {(e, s) for e in ("duckdb", "spark") for s in scale.STEPS}
    assert found.files == 1
    assert found.candles > 1_000


@pytest.mark.skipif(not scale.RESULTS.exists(), reason="`make bench-scale` has kept no figures yet")
def test_the_page_shows_the_days_that_were_measured() -> None:
    found = json.loads(scale.RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    for f in found["figures"]:
        numbers = " | ".join(report.text(n) for n in (f["median"], min(f["runs"]), max(f["runs"])))
        assert f"| {f['name']} | {f['unit']} | {numbers} |" in text
    assert arithmetic(Basis.of(found)) in text
    assert max(found["settings"]["sizes"]) >= scale.FULL
    assert f"From Spark's gold of a day of {found['basis']['trades']:,} trades" in text
